"""Models in which other tokens go along with the image's, as a question's: a sequence in which no grid can be told.

A call in another way says so by an attribute `mixes`, the other tokens in words.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from sightline.engine.adapted import Adapted
from sightline.errors import NoSpace
from sightline.layers import Layer, Layout, layout_of


def mixed(model: nn.Module) -> str:
    """The tokens that go along with the image's in a model, in words; nothing where it has only those."""
    return str(getattr(model.call, "mixes", "")) if isinstance(model, Adapted) else ""


def layout_in(model: nn.Module, layer: Layer, value: Tensor, space: Sequence[int]) -> Layout:
    """The layout of a layer's output in a model. Raises NoSpace where it has none, or its tokens are mixed."""
    others = mixed(model)
    if others and value.ndim == 3:
        raise NoSpace(
            f"layer {layer.name!r} ({type(layer.module).__name__}) gives {others} tokens along with the image's, in "
            "which no grid can be told; name no layer, and the source's own is taken"
        )
    return layout_of(layer, value, space)
