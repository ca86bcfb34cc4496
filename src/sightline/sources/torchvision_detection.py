"""Torchvision's detectors: Faster, Mask and Keypoint R-CNN, RetinaNet, FCOS, SSD and SSDlite.

A detector is asked for all its candidates, with the way from the image to their logits; its own resizing and
normalisation are left out, and so is the suppression. What torchvision detaches on that way are the boxes that an
R-CNN proposes: where it looks isn't explained, what it sees there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine import Adapted
from sightline.errors import ModelError
from sightline.model import Model, Task
from sightline.preprocess import Preprocess
from sightline.sources.torchvision_zoo import builders, built, weights_of, zoo
from sightline.targets import Candidates, Labels

STRIDE = 32  # pixels; a side that it divides is divided by the cells of every layer up to the backbone's end


def names() -> tuple[str, ...]:
    """All builders of detectors."""
    return builders(zoo().detection)


def load(name: str, weights: str | None = None) -> Model:
    """A detector with its default weights, those of an enum member, or random ones; see torchvision.load.

    Its classes are those of COCO that have a name, in COCO's order: the background and the ten ids that were never
    used have no column. So class 0 is the person, whichever the detector. An SSD's pictures are stretched to its own
    size, as torchvision does; those of others fitted into a square of what torchvision makes the shorter side.
    """
    chosen = weights_of(name, weights)
    backbone = {"weights_backbone": None} if weights == "random" else {}
    detector: Any = built(name, None if weights == "random" else chosen, **backbone)
    categories = chosen.meta["categories"]
    columns = tuple(i for i, category in enumerate(categories) if i and category != "N/A")
    return Model(
        module=Adapted(detector, Unsuppressed(columns)),
        name=name,
        source="torchvision",
        preprocess=_preprocess(detector.transform),
        labels=Labels(tuple(categories[i] for i in columns)),
        layer=_layer(detector),
        task=Task.BOXES,
    )


@dataclass(frozen=True)
class Unsuppressed:
    """A way to call a torchvision detector: a normalised image (N, 3, H, W) -> all its candidates.

    `columns` are the classes among those that it scores, by default all but the background of those that take a
    softmax. What is explained of a class is its logit. The logit of FCOS and RetinaNet says, on its own, that the
    class is there; FCOS ranks by the root of its sigmoid times the centreness, which says how well a box lies, and
    so do the shares here, but the centreness isn't explained. An R-CNN's candidates are its proposals, as many as it
    makes at most; those of the others are their anchors.
    For one of your own: `sightline.wrap(net, task="boxes", call=Unsuppressed(), layer="backbone.body.layer4")`.
    Raises ModelError for what is none.
    """

    columns: tuple[int, ...] | None = None

    def __call__(self, detector: Any, image: Tensor) -> Candidates:
        from torchvision.models.detection import FCOS, RetinaNet
        from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
        from torchvision.models.detection.image_list import ImageList
        from torchvision.models.detection.ssd import SSD

        if not isinstance(detector, FCOS | SSD | RetinaNet | GeneralizedRCNN):
            raise ModelError(
                f"{type(detector).__name__} is none of torchvision's detectors; wrap it with a call of your own, "
                "that gives sightline.targets.Candidates"
            )
        features = detector.backbone(image)
        features = dict(features) if isinstance(features, Mapping) else {"0": features}
        height, width = image.shape[-2:]
        # Where a layer is edited, several versions of it come after one image: the features say how many.
        images = ImageList(image, [(height, width)] * len(next(iter(features.values()))))
        if isinstance(detector, GeneralizedRCNN):
            logits, boxes = _proposed(detector, images, features)
        else:
            logits, boxes = _anchored(detector, images, features)
        shares = logits.softmax(-1) if isinstance(detector, SSD | GeneralizedRCNN) else logits.sigmoid()
        if isinstance(detector, FCOS):
            logits, centreness = logits[..., :-1], shares[..., -1:]
            shares = (shares[..., :-1] * centreness).sqrt()
        columns = self.columns
        if columns is None:
            first = int(isinstance(detector, SSD | GeneralizedRCNN))
            columns = tuple(range(first, logits.shape[-1]))
        kept = torch.tensor(columns, device=image.device)
        edge = torch.tensor([width, height, width, height], device=image.device)
        boxes = torch.minimum(boxes.clamp(min=0), edge.to(boxes))
        if boxes.ndim == 4:
            boxes = boxes.index_select(2, kept)
        return Candidates(boxes, logits.index_select(2, kept), shares.index_select(2, kept))


def _anchored(detector: Any, images: Any, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (N, A, columns) and boxes (N, A, 4) of a detector that scores each anchor; FCOS's centreness is last."""
    found = detector.head(list(features.values()))
    anchors = torch.stack(detector.anchor_generator(images, list(features.values())))
    logits, deltas = found["cls_logits"], found["bbox_regression"]
    if "bbox_ctrness" in found:
        logits = torch.cat([logits, found["bbox_ctrness"]], -1)
    decode = getattr(detector.box_coder, "decode_single", detector.box_coder.decode)
    return logits, decode(deltas.flatten(0, 1), anchors.flatten(0, 1)).view(*deltas.shape)


def _proposed(detector: Any, images: Any, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (N, A, columns) and boxes (N, A, columns, 4) of an R-CNN, filled up to the most proposals that it makes.

    Where it proposes nothing at all, an empty box at the origin stands for that.
    """
    proposals, _ = detector.rpn(images, features)
    proposals = [each if len(each) else each.new_zeros(1, 4) for each in proposals]
    heads = detector.roi_heads
    pooled = heads.box_roi_pool(features, proposals, images.image_sizes)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    boxes = heads.box_coder.decode(deltas, proposals)
    counts, most = [len(each) for each in proposals], detector.rpn.post_nms_top_n()
    return _filled(logits, counts, most), _filled(boxes, counts, most)


def _filled(rows: Tensor, counts: list[int], most: int) -> Tensor:
    """Rows of one image after the other as (N, most, ...): each image's first is repeated."""
    return torch.stack([
        torch.cat([own, own[:1].expand(most - len(own), *own.shape[1:])]) for own in torch.split(rows, counts)
    ])  # fmt: skip


def _preprocess(transform: Any) -> Preprocess:
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)
    if transform.fixed_size is not None:
        width, height = transform.fixed_size
        return Preprocess(size=(height, width), fit="squash", mean=mean, std=std)
    side = -(-transform.min_size[-1] // STRIDE) * STRIDE
    return Preprocess(size=(side, side), fit="pad", mean=mean, std=std)


def _layer(detector: Any) -> str:
    """The last layer on which every candidate depends, whichever level of the pyramid it is taken from."""
    backbone = detector.backbone
    if isinstance(getattr(backbone, "body", None), nn.ModuleDict):  # before a feature pyramid
        return f"backbone.body.{list(backbone.body)[-1]}"
    if isinstance(backbone.features, nn.Sequential) and isinstance(backbone.features[-1], nn.Sequential):
        return "backbone.features.0"
    return "backbone.features"
