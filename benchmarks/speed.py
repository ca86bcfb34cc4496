"""Speed and memory of Grad-CAM against the floor and the peers: python benchmarks/speed.py --write docs/benchmarks.md.

The floor is a plain forward pass of the same model (eval mode, no_grad). In every round each tool
runs once, in an order that rotates from round to round, and is divided by that round's floor, so
that noise of the machine hits all alike; the median of the rounds is what counts. Peers that
aren't installed are left out by name. Maps are compared before anything is timed.
"""

import argparse
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torchvision
from measuring import FLOOR, PIXELS, SAME, Bar, Table, in_floors, peak_bytes, picture, timed, wrong
from rich.console import Console
from rivals import asking, relu_rules
from torch import Tensor, nn

from sightline.ask import maps

OURS = "sightline"

Call = Callable[[nn.Module, "Net", Tensor, Sequence[int]], object]


@dataclass(frozen=True)
class Net:
    """A torchvision model, the layer explained, and the head that follows it, on which the bar depends."""

    name: str
    layer: str
    head: str
    prefix: int | None = None  # tokens before the grid, where the layer gives tokens

    def drawn(self) -> nn.Module:
        """The model with the same random weights at every call; a head of zeros, without gradient, is drawn anew."""
        torch.manual_seed(0)
        model: nn.Module = torchvision.models.get_model(self.name)
        for module in model.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)
        return model.eval()

    def grid(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, C) -> (N, C, h, w), as the peers ask for."""
        kept = tokens[:, self.prefix :]
        side = round(kept.shape[1] ** 0.5)
        return kept.transpose(1, 2).unflatten(2, (side, side))


NETS = (
    Net("resnet18", "layer4", "pooled"),
    Net("resnet50", "layer4", "pooled"),
    Net("vgg16", "features.29", "VGG's"),
    Net("squeezenet1_1", "features", "a convolution"),
    Net("densenet121", "features", "pooled"),
    Net("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", "a transformer block", prefix=1),
)


def forward(model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> None:
    with torch.no_grad():
        model(image)


def sightline(model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> Tensor:
    """One pass, whatever the number of classes: (K, N, h, w)."""
    if len(classes) == 1:
        return maps(model, image, classes[0], layer=net.layer)[None]
    return maps(model, image, [list(classes)] * len(image), layer=net.layer).transpose(0, 1)


def pytorch_grad_cam(model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> Tensor:
    """A call for each class: scaled to 0..1 and to the image's size, (K, N, H, W)."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    reshape = None if net.prefix is None else net.grid
    with GradCAM(model=model, target_layers=[model.get_submodule(net.layer)], reshape_transform=reshape) as cam:
        found = [cam(image, [ClassifierOutputTarget(c)] * len(image)) for c in classes]
    return torch.stack([torch.from_numpy(each) for each in found])


def captum(model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> Tensor | None:
    """A call for each class: (K, N, h, w); None of tokens, where captum takes positions for channels."""
    from captum.attr import LayerGradCam

    if net.prefix is not None:
        return None
    cam = LayerGradCam(model, model.get_submodule(net.layer))
    return torch.stack([cam.attribute(image, target=c, relu_attributions=True)[:, 0].detach() for c in classes])


def torchcam(model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> Tensor:
    """One forward pass, and one back for each class over the graph that is kept: (K, N, h, w)."""
    from torchcam.methods import GradCAM

    reshape = None if net.prefix is None else net.grid
    with GradCAM(model, net.layer, reshape_transform=reshape) as cam:
        scores = model(image)
        kept = [c != classes[-1] for c in classes]
        return torch.stack(
            [cam(c, scores, normalized=False, retain_graph=k)[0] for c, k in zip(classes, kept, strict=True)]
        )


@dataclass(frozen=True)
class Tool:
    """Something that answers; `most` is the number of classes that it does in reasonable time."""

    name: str
    call: Call
    package: str
    most: int = 1000
    scaled: bool = False


TOOLS = (
    Tool(FLOOR, forward, "torch"),
    Tool(OURS, sightline, "sightline"),
    Tool("pytorch-grad-cam", pytorch_grad_cam, "grad-cam", most=10, scaled=True),
    Tool("captum", captum, "captum", most=10),
    Tool("torchcam", torchcam, "torchcam"),
)


def installed(tools: Sequence[Tool]) -> list[Tool]:
    """The tools whose package is there; the others are named."""
    there = []
    for tool in tools:
        try:
            version(tool.package)
        except PackageNotFoundError:
            print(f"left out: {tool.name} (package {tool.package} is not installed)", file=sys.stderr)
            continue
        there.append(tool)
    return there


def peers(tools: Sequence[Tool]) -> list[Tool]:
    return [tool for tool in tools if tool.name not in (FLOOR, OURS)]


def deviation(tool: Tool, model: nn.Module, net: Net, image: Tensor, classes: Sequence[int]) -> float | None:
    """How far a tool's maps are from Sightline's, in parts of the maximum; None where the tool has none.

    Where nothing is known to go wrong, raw maps on a ResNet, a difference ends the benchmark.
    """
    theirs = tool.call(model, net, image, classes)
    if not isinstance(theirs, Tensor):
        return None
    ours = sightline(model, net, image, classes)
    if tool.scaled:
        from pytorch_grad_cam.utils.image import scale_cam_image

        size = image.shape[:-3:-1]
        once = [scale_cam_image(each.numpy(), size) for each in ours]
        ours = torch.stack([torch.from_numpy(scale_cam_image(each, size)) for each in once])
    if theirs.shape != ours.shape:
        raise SystemExit(f"{tool.name} gives {tuple(theirs.shape)} on {net.name}, Sightline {tuple(ours.shape)}")
    off = float((theirs - ours).abs().max() / ours.abs().max())
    if off > SAME and not tool.scaled and net.name.startswith("resnet"):
        raise SystemExit(f"Sightline and {tool.name} differ by {off:.1e} on {net.name}; nothing more was timed")
    return off


def with_a_map(model: nn.Module, net: Net, image: Tensor) -> int:
    """The first class whose map isn't all zero, so that a comparison says something."""
    found = sightline(model, net, image, range(20))[:, 0].flatten(1).amax(1)
    if not found.any():
        raise SystemExit(f"{net.name}: no class has a map; nothing to compare")
    return int(found.gt(0).nonzero()[0])


def one_class(nets: Sequence[Net], tools: Sequence[Tool], rounds: int) -> tuple[Table, dict[str, float]]:
    """A map of one class at batch 1; where a peer's map differs from Sightline's, its time says so."""
    rows, ours = [], {}
    for net in nets:
        print(f"timing {net.name}", file=sys.stderr)
        model, image = net.drawn(), picture(1)
        target = with_a_map(model, net, image)
        off = {tool.name: deviation(tool, model, net, image, [target]) for tool in peers(tools)}
        calls = {tool.name: partial(tool.call, model, net, image, [target]) for tool in tools}
        able = {name: call for name, call in calls.items() if off.get(name, 0.0) is not None}
        seconds = timed(able, rounds)
        ratios = in_floors(seconds)
        ours[net.name] = ratios[OURS]
        cells = [
            "-" if tool.name not in ratios else f"{ratios[tool.name]:.2f}{wrong(off.get(tool.name))}"
            for tool in tools[1:]
        ]
        rows.append([net.name, net.layer, net.head, f"{statistics.median(seconds[FLOOR]) * 1e3:.0f} ms", *cells])
    columns = ["model", "layer", "head after it", "forward", *(tool.name for tool in tools[1:])]
    return Table("One class, batch 1, in forward passes", columns, rows), ours


def many_classes(net: Net, counts: Sequence[int], tools: Sequence[Tool], rounds: int) -> tuple[Table, dict[int, float]]:
    """Maps of many classes of one image; tools that need a whole call for each stop early."""
    model, image = net.drawn(), picture(1)
    rows, ours = [], {}
    for tool in peers(tools):
        deviation(tool, model, net, image, range(min(counts)))
    for count in counts:
        print(f"timing {count} classes", file=sys.stderr)
        calls = {
            tool.name: partial(tool.call, model, net, image, range(count))
            for tool in tools if count <= tool.most
        }  # fmt: skip
        ratios = in_floors(timed(calls, rounds))
        ours[count] = ratios[OURS]
        names = [tool.name for tool in tools[1:]]
        rows.append([str(count), *(f"{ratios[name]:.2f}" if name in ratios else "-" for name in names)])
    columns = ["classes", *(tool.name for tool in tools[1:])]
    return Table(f"Many classes of one image, {net.name}, in forward passes", columns, rows), ours


def memory(nets: Sequence[Net], batch: int, tools: Sequence[Tool]) -> tuple[Table, dict[str, float]]:
    """Peak memory of a call over the weights, each on a model drawn for it: some leave gradients behind."""
    rows, ours = [], {}
    for net in nets:
        peaks = {tool.name: peak_bytes(partial(tool.call, net.drawn(), net, picture(batch), [0])) for tool in tools}
        ours[net.name] = peaks[OURS] / peaks[FLOOR]
        rows.append([net.name, *(f"{peaks[tool.name] / 1e6:.1f} MB" for tool in tools)])
    columns = ["model", *(tool.name for tool in tools)]
    return Table(f"Peak memory over the weights, one class, batch {batch}", columns, rows), ours


def bars(single: dict[str, float], many: dict[int, float], extra: dict[str, float]) -> list[Bar]:
    heads = {net.name: net.head for net in NETS}
    pooled = {name: value for name, value in single.items() if heads[name] == "pooled"}
    vgg = {name: value for name, value in single.items() if heads[name] == "VGG's"}
    return [
        Bar("One class with a pooled head, in forward passes,", 1.10, pooled),
        Bar("One class with VGG's head, in forward passes,", 1.25, vgg),
        Bar("Peak memory, in a plain forward pass's,", 1.10, extra),
        Bar("100 classes on resnet50, in forward passes,", 1.5, {"resnet50": many[100]} if 100 in many else {}),
        Bar("1000 classes on resnet50, in forward passes,", 2.5, {"resnet50": many[1000]} if 1000 in many else {}),
    ]


def opening(tools: Sequence[Tool], rounds: int) -> str:
    """What was measured and how, on what."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("torchvision", *(tool.package for tool in tools)))
    command = " ".join(["python", *sys.argv])
    return (
        "Raw Grad-CAM maps of torchvision models with random weights at "
        f"{PIXELS} px, timed as multiples of a plain forward pass of the same model (eval mode, `no_grad`): all tools "
        f"take turns in one process, and the median of {rounds} rounds of each time divided by its own round's forward "
        "pass is shown. Peak memory counts every tensor allocated and released during one call, exactly, without "
        "oneDNN's scratch space and NumPy's arrays. Maps were compared first.\n\n"
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} CPU cores, threads {torch.get_num_threads()}, "
        f"Python {sys.version.split()[0]}, {versions}.\n\n`{command}`\n"
    )


def page(tools: Sequence[Tool], rounds: int, tables: Sequence[Table], verdicts: Sequence[Bar]) -> str:
    notes = (
        "`-`: the tool has no map there (captum takes tokens for channels), or needs a whole call for each class, too "
        f"many to time. *Map off by*: the largest deviation from Sightline's map, in parts of its maximum, where it is "
        f"above {SAME:g}.\n"
    )
    listed = "\n".join(f"- {bar.sentence()}" for bar in verdicts)
    return "\n".join(
        [opening(tools, rounds), *(table.markdown() for table in tables), notes, "## The bars\n", listed, ""]
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [net.name for net in NETS]
    parser.add_argument("--models", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=15, help="rounds that the median is taken over")
    parser.add_argument("--threads", type=int, help="torch's threads; its own choice unless given")
    parser.add_argument("--rivals", action=argparse.BooleanOptionalAction, default=True, help="the other methods too")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page, in Markdown")
    return parser.parse_args()


def main() -> None:
    asked = options()
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # the profiler's own chatter
    warnings.filterwarnings("ignore", message=".*(backward hook|non-full backward).*")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    tools = installed(TOOLS)
    nets = [net for net in NETS if net.name in asked.models]
    heavy = [net for net in nets if net.name in ("resnet50", "vgg16")]
    console = Console(width=160)
    first, single = one_class(nets, tools, asked.rounds)
    first.show(console)
    tables: list[Table] = [first]
    many: dict[int, float] = {}
    extra: dict[str, float] = {}
    if resnet := [net for net in nets if net.name == "resnet50"]:
        table, many = many_classes(resnet[0], (10, 100, 1000), tools, asked.rounds)
        table.show(console)
        tables.append(table)
    if heavy:
        table, extra = memory(heavy, 4, tools)
        table.show(console)
        tables.append(table)
    verdicts = bars(single, many, extra)
    if asked.rivals and len(tools) == len(TOOLS):
        print("timing the other methods", file=sys.stderr)
        table, bar = relu_rules(("resnet18", "resnet50", "vgg16", "densenet121", "googlenet"), asked.rounds)
        table.show(console)
        tables.append(table)
        verdicts.append(bar)
        table, more = asking()
        table.show(console)
        tables.append(table)
        verdicts += more
    for bar in verdicts:
        print(f"- {bar.sentence()}")
    if asked.write:
        asked.write.parent.mkdir(parents=True, exist_ok=True)
        asked.write.write_text(page(tools, asked.rounds, tables, verdicts), encoding="utf-8")
        print(f"wrote {asked.write}")


if __name__ == "__main__":
    main()
