"""Object detection: the candidates of DETR and its kin."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from sightline.engine import Adapted
from sightline.model import Model, Task
from sightline.sources.hugging_face.place import Place
from sightline.sources.hugging_face.structure import last_block, part_named
from sightline.targets import Candidates, from_detr


def with_boxes(model: Model, module: Any, place: Place) -> Model:
    """A detector that gives Candidates. Its layer is the last of its backbone, for queries are no positions.

    One without a backbone, as YOLOS, lets detection tokens go along with the image's, so that only the embedding of its
    patches can be asked about; the note says so.
    """
    backbone = part_named(module, "backbone")
    if backbone is not None:
        return replace(model, module=Adapted(module, _Detecting()), task=Task.BOXES, layer=last_block(module, backbone))
    said = "its blocks mix detection tokens with the image's, so the layer is the embedding of the patches"
    note = f"{model.note}; {said}" if model.note else said
    return replace(model, module=Adapted(module, _Detecting("detection")), task=Task.BOXES, note=note)


@dataclass(frozen=True)
class _Detecting:
    """Each query's box and logits; where one logit stands for no object, shares are softmaxes, else sigmoids."""

    mixes: str = ""

    def __call__(self, module: Any, image: Tensor) -> Candidates:
        given = module(pixel_values=image)
        no_object = given.logits.shape[-1] > module.config.num_labels
        return from_detr(given, (image.shape[2], image.shape[3]), no_object=no_object)
