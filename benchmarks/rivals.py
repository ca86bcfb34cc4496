"""The methods that ask much of a model, against the peers: ReLU rules, ablation, masks. Tables for speed.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from measuring import FLOOR, Bar, Table, in_floors, peak_bytes, picture, timed, wrong
from torch import Tensor, nn

from sightline.ask import maps

FEW = 3  # rounds, of what takes seconds


def drawn(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, **({"init_weights": True} if name == "googlenet" else {}))
    return model.eval()


def input_gradient(model: nn.Module, image: Tensor) -> Tensor:
    leaf = image.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)[0]


def guided_by_captum(model: nn.Module, image: Tensor) -> Tensor:
    from captum.attr import GuidedBackprop

    return GuidedBackprop(model).attribute(image.clone().requires_grad_(), target=0).detach()


def guided_by_pytorch_grad_cam(model: nn.Module, image: Tensor) -> Tensor:
    from pytorch_grad_cam import GuidedBackpropReLUModel

    found = GuidedBackpropReLUModel(model=model, device="cpu")(image.clone(), target_category=0)
    return torch.from_numpy(found).permute(2, 0, 1)[None]


def relu_rules(names: Sequence[str], rounds: int) -> tuple[Table, Bar]:
    """Guided backprop in plain input gradients, the floor here; how far off the peers' maps are."""
    rows, ours = [], {}
    for name in names:
        image = picture(1)
        calls = {
            FLOOR: partial(input_gradient, drawn(name), image),
            "sightline": partial(maps, drawn(name), image, 0, method="guided-backprop"),
            "pytorch-grad-cam": partial(guided_by_pytorch_grad_cam, drawn(name), image),
            "captum": partial(guided_by_captum, drawn(name), image),
        }
        true = calls["sightline"]()
        off = {
            tool: float((calls[tool]().abs().amax(1) - true).abs().max() / true.max())
            for tool in ("pytorch-grad-cam", "captum")
        }
        ratios = in_floors(timed(calls, rounds))
        ours[name] = ratios["sightline"]
        rows.append([name, *(f"{ratios[tool]:.2f}{wrong(off.get(tool))}" for tool in calls if tool != FLOOR)])
    table = Table("Guided backprop, in plain input gradients", ["model", *calls][:1] + list(calls)[1:], rows)
    return table, Bar("Guided backprop, in plain input gradients,", 1.10, ours)


@dataclass(frozen=True)
class Rival:
    """A method as one tool does it; each on a model drawn for it, for some leave theirs changed."""

    method: str
    tool: str
    call: Callable[[nn.Module, Tensor], object]


def _pytorch_grad_cam(kind: str) -> Callable[[nn.Module, Tensor], object]:
    def call(model: nn.Module, image: Tensor) -> object:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with getattr(pytorch_grad_cam, kind)(model=model, target_layers=[model.layer4]) as cam:
            cam.batch_size = 16
            return cam(image, [ClassifierOutputTarget(0)])

    return call


def _torchcam_score_cam(model: nn.Module, image: Tensor) -> object:
    from torchcam.methods import ScoreCAM

    with ScoreCAM(model, "layer4", batch_size=16) as cam:
        return cam(0, model(image))


def _captum_occlusion(model: nn.Module, image: Tensor) -> object:
    from captum.attr import Occlusion

    return Occlusion(model).attribute(
        image, target=0, sliding_window_shapes=(3, 32, 32), strides=(3, 16, 16), perturbations_per_eval=16
    )


def _sightline(method: str) -> Callable[[nn.Module, Tensor], object]:
    return lambda model, image: maps(model, image, 0, layer="layer4", method=method)


RIVALS = (
    Rival("ablation-cam, 512 channels", "sightline", _sightline("ablation-cam")),
    Rival("ablation-cam, 512 channels", "pytorch-grad-cam", _pytorch_grad_cam("AblationCAM")),
    Rival("score-cam, 512 channels", "sightline", _sightline("score-cam")),
    Rival("score-cam, 512 channels", "pytorch-grad-cam", _pytorch_grad_cam("ScoreCAM")),
    Rival("score-cam, 512 channels", "torchcam", _torchcam_score_cam),
    Rival("occlusion, 32 px every 16", "sightline", _sightline("occlusion:window=32:stride=16")),
    Rival("occlusion, 32 px every 16", "captum", _captum_occlusion),
    Rival("rise, 256 masks", "sightline", _sightline("rise:masks=256")),
    Rival("rise, 64 masks", "sightline", _sightline("rise:masks=64")),
)


def asking(name: str = "resnet18") -> tuple[Table, list[Bar]]:
    """Methods that ask about many versions: time in forward passes, and peak memory over the weights."""
    image, rows = picture(1), []
    ratios: dict[tuple[str, str], float] = {}
    peaks: dict[tuple[str, str], int] = {}
    for rival in RIVALS:
        model = drawn(name)
        calls = {FLOOR: partial(_forward, model, image), rival.tool: partial(rival.call, model, image)}
        key = rival.method, rival.tool
        ratios[key] = in_floors(timed(calls, FEW))[rival.tool]
        peaks[key] = peak_bytes(partial(rival.call, drawn(name), image))
    methods = dict.fromkeys(rival.method for rival in RIVALS)
    tools = list(dict.fromkeys(rival.tool for rival in RIVALS))
    for method in methods:
        cells = [
            f"{ratios[method, tool]:.1f}, {peaks[method, tool] / 1e6:.0f} MB" if (method, tool) in ratios else "-"
            for tool in tools
        ]
        rows.append([method, *cells])
    floor = peak_bytes(partial(_forward, drawn(name), image))
    title = f"Many versions of one image, {name}, batches of 16, in forward passes, and peak memory over the weights"
    table = Table(f"{title} (a plain forward pass: {floor / 1e6:.0f} MB)", ["method", *tools], rows)
    grown = peaks["rise, 256 masks", "sightline"] / peaks["rise, 64 masks", "sightline"]
    return table, [
        Bar("Ablation-CAM over 512 channels, in forward passes,", 3.0, {name: ratios[RIVALS[0].method, "sightline"]}),
        Bar("Peak memory of RISE with 256 masks, in that with 64,", 1.05, {name: grown}),
    ]


def _forward(model: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        model(image)
