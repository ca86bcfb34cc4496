"""Walking the autograd graph that a value comes from."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node


def nodes(value: Tensor, until: Callable[[Node], Any] = lambda node: False) -> Iterator[Node]:
    """The nodes of the graph that a value comes from, each once; not what lies before those that `until` is true of."""
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if not until(node):
            waiting += [before for before, _ in node.next_functions]


def operation(node: Node) -> str:
    """What a node differentiates: `Relu` of `ReluBackward0`."""
    return node.name().split("Backward")[0].rpartition("::")[2]
