"""The head alone: what follows a layer, run again on edited activations while what precedes it is replayed.

The trunk runs once, at batch 1, and what every torch function in it gave is recorded. To ask
again, the model's own code runs, and each of those functions hands out its record without
computing, call by call, until the layer is reached; from there on everything is computed. Where
that can't be done (the code takes another way, or the head doesn't take several versions of one
image) the whole model runs on copies of the image, which is always right.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sightline.engine.loan import borrowed
from sightline.engine.mixed import layout_in
from sightline.engine.passes import main_tensor, plain, replaced, run
from sightline.errors import LayerNotReached, ModelError
from sightline.layers import Layer

CLOSE = 1e-3  # a replayed output may differ from the model's own by rounding, as a share of its largest value


class Record(TorchFunctionMode):
    """Notes what torch functions give."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, result))
        return result


class DivergedError(Exception):
    """The code took another way than the recorded one."""


class Replay(TorchFunctionMode):
    """Hands out the record, until told to stop."""

    def __init__(self, calls: list[tuple[Any, Any]]) -> None:
        super().__init__()
        self.calls = iter(calls)
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.stopped:
            return func(*args, **(kwargs or {}))
        recorded, result = next(self.calls, (None, None))
        if recorded != func:
            raise DivergedError
        return result


class Head:
    """What follows a layer, for one image (1, C, ...): edited activations in, the model's output out."""

    def __init__(self, model: nn.Module, image: Tensor, layer: Layer) -> None:
        self._model, self._layer, self._image = model, layer, plain(image)
        self._calls = 0  # of the layer, up to the one that is edited
        self._value = torch.empty(0)
        record, end = Record(), 0

        def note(given: Any, calls: int) -> None:
            nonlocal end
            value = main_tensor(given, layer)
            if layer.call in (None, calls - 1) and value is not None:
                self._value, self._calls, end = value.clone(), calls, len(record.calls)

        self.output = self._pass(self._image, note, record)
        if not self._calls:
            raise LayerNotReached(f"layer {layer.name!r} isn't called (often enough), or gives no tensor")
        self.layout = layout_in(model, layer, self._value, image.shape[2:])
        self._record = record.calls[:end]
        self._replays = self._can_replay()

    @property
    def bytes(self) -> int:
        """What one version of the activations holds."""
        return self._value.nbytes

    def __call__(self, edited: Tensor) -> Any:
        """The output for m versions (m, C, *grid) of the layer's activations."""
        if self._replays:
            return self._replayed(edited)
        return self._pass(self._image.expand(len(edited), *self._image.shape[1:]).contiguous(), self._edit(edited))

    def _pass(
        self, image: Tensor, at_layer: Callable[[Any, int], Any], mode: AbstractContextManager[Any] | None = None
    ) -> Any:
        calls = 0

        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            nonlocal calls
            calls += 1
            return at_layer(output, calls)

        with borrowed(self._model), torch.inference_mode(False), torch.no_grad(), mode or nullcontext():
            return run(self._model, image, [(self._layer.module, hook)])

    def _edit(self, edited: Tensor, then: Callable[[], None] = lambda: None) -> Callable[[Any, int], Any]:
        def put(given: Any, calls: int) -> Any:
            value = main_tensor(given, self._layer)
            if calls != self._calls or value is None:
                return None
            then()
            whole = self._value.repeat(len(edited), *[1] * (self._value.ndim - 1))
            self.layout.to_grid(whole).copy_(edited)
            return replaced(given, value, whole)

        return put

    def _replayed(self, edited: Tensor) -> Any:
        replay = Replay(self._record)
        return self._pass(self._image, self._edit(edited, replay.stop), replay)

    def _can_replay(self) -> bool:
        """Whether two unedited versions give the model's own output twice, and leave the record as it was."""
        same = self.layout.to_grid(self._value)
        before = [result._version for _, result in self._record if isinstance(result, Tensor)]
        try:
            found = list(_tensors(self._replayed(same.repeat(2, *[1] * (same.ndim - 1)))))
        except torch.OutOfMemoryError:
            raise
        except (DivergedError, ModelError, RuntimeError, TypeError, ValueError, LookupError):
            return False
        after = [result._version for _, result in self._record if isinstance(result, Tensor)]
        true = list(_tensors(self.output))
        return before == after and len(found) == len(true) and all(map(_is_twice, found, true))


def _is_twice(found: Tensor, true: Tensor) -> bool:
    if found.shape != (2, *true.shape[1:]):
        return False
    return bool((found - true).abs().max() <= CLOSE * true.abs().max())


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point() and output.numel():
            yield output
    elif isinstance(output, Mapping | tuple | list):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
