"""Tiny nets whose answer is known, one trait each; and gradients worked out without the engine.

Images are (N, 3, H, W). Weights come from a seed and leave the global random state alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

Net = TypeVar("Net", bound=nn.Module)


def seeded(build: Callable[[], Net], seed: int = 0) -> Net:
    """What `build` gives under a seed, in eval mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return build().eval()


def image(n: int = 2, height: int = 8, width: int = 8, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (n, 3, height, width) of noise."""
    drawn = torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def roughened(net: Net, seed: int = 1) -> Net:
    """The net with every batch norm's statistics and weights drawn, so that none is the identity."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(like: Tensor, low: float, high: float) -> Tensor:
        return torch.empty(like.shape).uniform_(low, high, generator=generator)

    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                for value, low, high in (
                    (norm.running_mean, -0.2, 0.2), (norm.running_var, 0.5, 2.0),
                    (norm.weight, 0.5, 1.5), (norm.bias, -0.3, 0.3),
                ):  # fmt: skip
                    value.copy_(drawn(value, low, high))
    return net


def without_in_place(net: Net) -> Net:
    """The net with no module that overwrites its input."""
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def captured(
    model: nn.Module, layer: nn.Module, images: Tensor, score: Callable[[Any], Tensor]
) -> tuple[Tensor, Tensor]:
    """A layer's activations and gradients (N, C, h, w) of `score(output)` (N,), by an added zero.

    The gradient with respect to a zero that is added to the output is the output's own. Shares no
    code with the engine.
    """
    seen: list[Tensor] = []

    def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        zero = torch.zeros_like(output, requires_grad=True)
        seen[:] = [output.detach().clone(), zero]
        return output + zero

    handle = layer.register_forward_hook(add)
    try:
        with torch.enable_grad():
            (gradients,) = torch.autograd.grad(score(model(images)).sum(), seen[1])
    finally:
        handle.remove()
    return seen[0], gradients


def grad_cam_of(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM as the paper says it, for whole batches."""
    weights = gradients.sum((2, 3)) / (gradients.shape[2] * gradients.shape[3])
    return (weights[:, :, None, None] * activations).sum(1).clamp(min=0)


def relative_error(found: Tensor, true: Tensor) -> float:
    """The largest difference as a share of the largest true value."""
    return float((found.double() - true.double()).abs().max() / true.double().abs().max())


class Pooled(nn.Module):
    """conv -> relu -> mean over positions -> linear: CAM's net. Without `relu` its features are signed."""

    def __init__(self, classes: int = 4, channels: int = 6, *, relu: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.features = nn.ReLU() if relu else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.features(self.conv(images))).flatten(1))


class Deep(nn.Module):
    """A net whose head isn't linear: the features' mean through two linear layers with a tanh between."""

    def __init__(self, classes: int = 4, channels: int = 6) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, channels, 3, padding=1)
        self.head = nn.Sequential(nn.Linear(channels, 8), nn.Tanh(), nn.Linear(8, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).square().mean((2, 3)))


class Cells(nn.Module):
    """A module applied to each cell of a grid on its own, so that nothing crosses a border."""

    def __init__(self, inner: nn.Module, rows: int, columns: int) -> None:
        super().__init__()
        self.inner, self.rows, self.columns = inner, rows, columns

    def forward(self, values: Tensor) -> Tensor:
        rows = [
            torch.cat([self.inner(cell) for cell in row.chunk(self.columns, 3)], 3)
            for row in values.chunk(self.rows, 2)
        ]
        return torch.cat(rows, 2)


class Disconnected(nn.Module):
    """DiFull (Rao et al., CVPR 2022): class i sees cell i of a grid and nothing else.

    Cells are numbered row by row. Each class pools the second stage's features over its cell, and
    scores them with its own linear layer.
    """

    def __init__(self, rows: int = 2, columns: int = 2, channels: int = 6) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.early = Cells(nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()), rows, columns)
        self.late = Cells(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()), rows, columns)
        self.heads = nn.ModuleList(nn.Linear(channels, 1) for _ in range(rows * columns))

    def forward(self, images: Tensor) -> Tensor:
        features = self.late(self.early(images))
        cells = [cell for row in features.chunk(self.rows, 2) for cell in row.chunk(self.columns, 3)]
        return torch.cat([head(cell.mean((2, 3))) for head, cell in zip(self.heads, cells, strict=True)], 1)


class Reused(nn.Module):
    """One convolution, `shared`, called three times, each time followed by a tanh."""

    def __init__(self, channels: int = 5, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        values = self.stem(images)
        for _ in range(3):
            values = self.shared(values).tanh()
        return self.head(values.square().mean((2, 3)))


class Pair(NamedTuple):
    """A named tuple, as some layers give."""

    first: Tensor
    second: Tensor


class Wrapped(nn.Module):
    """A convolution that gives its output inside a `kind` of container, together with something else."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 5, 3, padding=1), kind

    def forward(self, images: Tensor) -> Any:
        values, index = self.conv(images), torch.zeros(1, dtype=torch.long)
        return {
            "plain": lambda: values,
            "tuple": lambda: (values, index),
            "list": lambda: [index, values],
            "dict": lambda: {"index": index, "values": values},
            "named": lambda: Pair(values, index),
        }[self.kind]()


class Containers(nn.Module):
    """A net whose layer `inner` gives a container of the `kind`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = Wrapped(kind), kind
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        given = self.inner(images)
        values = {
            "plain": lambda: given, "tuple": lambda: given[0], "list": lambda: given[1],
            "dict": lambda: given["values"], "named": lambda: given.first,
        }[self.kind]()  # fmt: skip
        return self.head(values.tanh().mean((2, 3)))


class Overwriting(nn.Module):
    """A net that changes the output of `conv` by `step`; in place, or with the same values out of place."""

    STEPS = ("relu", "add", "mul", "sigmoid", "index")

    def __init__(self, step: str, *, in_place: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.conv = nn.Conv2d(5, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=in_place)
        self.mix = nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)
        self.step, self.in_place = step, in_place

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.stem(images)
        values = self._stepped(self.conv(shortcut), shortcut)
        return self.head(self.mix(values).tanh().mean((2, 3)))

    def _stepped(self, values: Tensor, shortcut: Tensor) -> Tensor:
        if self.step == "relu":
            return self.relu(values)
        if not self.in_place:
            lit = torch.cat([torch.zeros_like(values[:, :2]), values[:, 2:]], 1)
            return {"add": values + shortcut, "mul": values * 3, "sigmoid": values.sigmoid(), "index": lit}[self.step]
        if self.step == "add":
            values += shortcut
        elif self.step == "mul":
            values *= 3
        elif self.step == "sigmoid":
            values.sigmoid_()
        else:
            values[:, :2] = 0
        return values


class Detours(nn.Module):
    """Layers beside the way to the score, all but `conv` of no use to it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.spare = nn.Conv2d(3, 5, 3, padding=1)  # never called
        self.aside = nn.Conv2d(3, 5, 3, padding=1)  # called, its output unused
        self.wholes = Wholes()
        self.flat = nn.Flatten()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        self.aside(images)
        values = self.conv(images)
        self.wholes(values)
        return self.head(self.flat(self.pool(values.tanh())))


class Wholes(nn.Module):
    """Integers instead of activations."""

    def forward(self, values: Tensor) -> Tensor:
        return values.long()


class Unrecorded(nn.Module):
    """A net that runs its stem and trunk under `torch.no_grad` or `torch.inference_mode` itself, and then a neck."""

    def __init__(self, *, inference: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.trunk = nn.Conv2d(5, 5, 3, padding=1)
        self.neck = nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)
        self.off = torch.inference_mode if inference else torch.no_grad

    def forward(self, images: Tensor) -> Tensor:
        with self.off():
            values = self.trunk(self.stem(images).tanh())
        return self.head(self.neck(values.tanh()).tanh().mean((2, 3)))


class Failing(nn.Module):
    """A net that raises what it was given, after its layer."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 5, 3, padding=1)
        self.drop = nn.Dropout()
        self.norm = nn.BatchNorm2d(5)
        self.error = error

    def forward(self, images: Tensor) -> Tensor:
        self.norm(self.drop(self.features(images)))  # draws and counts, were it training
        raise self.error


class _Cube(torch.autograd.Function):
    """x^3 by a function of the kind that people write: with no rule for batched gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        if not float(gradient.detach().abs().sum()) >= 0:  # looks at numbers, which a batched gradient has none of
            raise ValueError("not a number")
        return 3 * values**2 * gradient


class Custom(nn.Module):
    """A net with a custom autograd function in its head, or with the same function built in."""

    def __init__(self, *, custom: bool = True) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Linear(5, 6)
        self.custom = custom

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).tanh().mean((2, 3))
        return self.head(_Cube.apply(pooled) if self.custom else pooled**3)


class Trained(nn.Module):
    """A net that training mode changes: batch norm, dropout, and noise of its own."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(channels, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.drop(self.relu(self.norm(self.conv(images))))
        pooled = features.mean((2, 3))
        return self.head(pooled + torch.rand_like(pooled) if self.training else pooled)


class Residual(nn.Module):
    """Two resolutions, batch norm, a residual sum, a concatenation, ReLUs of every kind, and a head of two layers."""

    def __init__(self, classes: int = 4, channels: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.early = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.side = nn.Conv2d(channels, 3, 1)
        self.late = nn.ReLU()
        self.head = nn.Sequential(nn.Linear(channels + 3, 8), nn.ReLU(), nn.Linear(8, classes))

    def forward(self, images: Tensor) -> Tensor:
        values = self.pool(self.early(self.norm(self.stem(images))))
        summed = self.conv(values)
        summed += values
        features = self.late(torch.cat([summed, torch.relu(self.side(values))], 1))
        return self.head(features.mean((2, 3)))


class Vit(VisionTransformer):
    """A vision transformer of torchvision's, of two blocks, with a head that isn't all zero."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__(
            image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=classes
        )
        nn.init.normal_(self.heads.head.weight, std=0.5)
        nn.init.normal_(self.class_token, std=0.5)
