"""Rules for a ReLU's backward pass, on the autograd graph itself.

A hook on a graph's node sees every ReLU that ran, whether a module, a function, in place or used
twice, and nothing of the model is changed. A rule is refused where it would leave a plain
gradient under another name: on activations that are smooth or have two slopes, on custom
functions, whose inside can't be seen, and where there is no ReLU at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from sightline.engine.graph import nodes, operation
from sightline.errors import MethodError
from sightline.types import Relu

_RELUS = {"Relu", "Hardtanh", "ClampMin", "Threshold"}  # Hardtanh is ReLU6's
_OTHERS = {
    *("Celu", "Elu", "Gelu", "Glu", "Hardswish", "LeakyRelu", "LogSigmoid", "Mish", "Prelu", "PreluKernel"),
    *("Rrelu", "RreluWithNoise", "Selu", "Silu", "Softplus", "Softshrink"),
}


@contextmanager
def ruled(scores: Tensor, rule: Relu) -> Iterator[None]:
    """Inside the block, gradients of these scores pass back through ReLUs by the rule.

    Raises MethodError where the rule isn't defined on what the scores were computed with.
    """
    handles = []
    try:
        if rule is not Relu.PLAIN:
            for node in _relus(scores, rule):
                if rule is Relu.GUIDED:
                    handles.append(node.register_prehook(_positive))
                else:
                    handles.append(node.register_hook(lambda _, outer: _positive(outer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _positive(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if gradient is None else gradient.clamp(min=0) for gradient in gradients)


def _relus(scores: Tensor, rule: Relu) -> list[Node]:
    found = []
    for node in nodes(scores):
        step = operation(node)
        closed = isinstance(node, BackwardCFunction) or "DifferentiableGraph" in node.name()  # of TorchScript
        if step in _OTHERS or closed:
            what = f"the custom function {step}" if closed else step
            raise MethodError(
                f"the {rule.name.lower()} rule is defined for ReLUs, and this model uses {what}; "
                "saliency and integrated-gradients need none"
            )
        if step in _RELUS or (step == "Clamp" and getattr(node, "_saved_min", None) == 0):
            found.append(node)
    if not found:
        raise MethodError(
            f"the {rule.name.lower()} rule is defined for ReLUs, and none lies on the way to the score; "
            "saliency and integrated-gradients need none"
        )
    return found
