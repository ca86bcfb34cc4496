"""Which layers a pass calls, and which of them the scores depend on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine.adapted import Adapted
from sightline.engine.loan import borrowed
from sightline.engine.mixed import mixed
from sightline.engine.passes import Hook, main_tensor, plain, replaced, run
from sightline.errors import ModelError
from sightline.layers import Call, Layer, Layout, is_feature


def trace(model: nn.Module, image: Tensor) -> tuple[list[Call], Any]:
    """Every module's last call that gave a floating-point tensor, in the order of completion, and the output.

    A module that hands on a tensor unchanged isn't listed, except a container in the place of its last part. Of a
    model with other inputs only calls that depend on the image count.
    """
    of_image = dependent(model, image) if isinstance(model, Adapted) else None
    found: list[Call] = []
    counts: dict[nn.Module, int] = {}
    others = mixed(model)  # in whose sequences no grid can be told
    last: tuple[Tensor | None, int] = (None, 0)  # an in-place module gives the same tensor in a new version

    def listed(name: str) -> Hook:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal last
            counts[module] = counts.get(module, 0) + 1
            value = main_tensor(output)
            if value is None or (others and value.ndim == 3):
                return
            call = Call(Layer(name, module), tuple(value.shape), is_feature(module), counts[module])
            version = 0 if value.is_inference() else value._version
            if value is not last[0] or version != last[1]:
                found.append(call)
            elif found[-1].layer.name.startswith(f"{name}."):
                found[-1] = replace(call, feature=found[-1].feature)
            last = (value, version)

        return hook

    hooks = [(module, listed(name)) for name, module in model.named_modules() if name]
    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        output = run(model, plain(image), hooks)
    if of_image is None:
        return [call for call in found if call.times == counts[call.layer.module]], output
    latest = dict(sorted(of_image, key=lambda each: each[1]))
    kept = [call for call in found if call.times == latest.get(call.layer.module)]
    return [_numbered(call, counts[call.layer.module]) for call in kept], output


def _numbered(call: Call, of: int) -> Call:
    """The call, its layer naming its number where it isn't the last of so many."""
    return call if call.times == of else replace(call, layer=replace(call.layer, call=call.times - 1))


def dependent(model: nn.Module, image: Tensor) -> set[tuple[nn.Module, int]] | None:
    """The calls (module, counted from 1) whose output depends on the image; None where that can't be told.

    The image is set to NaN, which no operation swallows; outputs that hold NaN depend on it.
    """
    found: set[tuple[nn.Module, int]] = set()
    counts: dict[nn.Module, int] = {}

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        counts[module] = counts.get(module, 0) + 1
        value = main_tensor(output)
        if value is not None and bool(value.isnan().any()):
            found.add((module, counts[module]))

    try:
        with borrowed(model), torch.inference_mode(False), torch.no_grad():
            run(model, torch.full_like(image, torch.nan), [(module, hook) for module in model.modules()])
    except ModelError:  # as of code that looks at values
        return None
    return found or None


def reach(
    model: nn.Module, image: Tensor, read: Callable[[Any], Tensor], call: Call, layout: Layout
) -> tuple[int, int]:
    """How many of the scores `read(output)` (N, K, ...) depend on the first channel of a layer, and K.

    Told whatever the weights: the channel is set to NaN, which no operation of a network swallows,
    not even a weight of zero; the scores that turn NaN depend on it.
    """
    times = 0

    def poison(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal times
        times += 1
        value = main_tensor(output, call.layer)
        if value is None or times != call.times:
            return None
        spoilt = value.clone()
        layout.to_grid(spoilt)[:, 0] = torch.nan
        return replaced(output, value, spoilt)

    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        scores = read(run(model, plain(image), [(call.layer.module, poison)]))
    spoilt = scores[0].isnan().flatten(1).any(1) if scores.ndim > 2 else scores[0].isnan()
    return int(spoilt.sum()), len(spoilt)
