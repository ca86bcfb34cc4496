"""Detectors: their candidates are what they rank, a box's map is of that box, and layers that give several tensors."""

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nets import Pooled, seeded
from nets import image as noise
from object_figures import energies, specificity
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close
from torchvision.models import detection as tv
from torchvision.models.detection import backbone_utils
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

import sightline
from sightline.ask import chosen_layer
from sightline.bundled.net import SmallResNet
from sightline.datasets.painting import Painting
from sightline.datasets.shapes import CLASSES, scene, shapes
from sightline.engine import Adapted, Head
from sightline.errors import LayerError, LayerNotFound, ModelError, TargetError
from sightline.layers import find, same_in
from sightline.model import Task
from sightline.sources import torchvision_detection, torchvision_segmentation
from sightline.sources.torchvision_detection import Unsuppressed
from sightline.targets import Candidates, box, detections, from_detr, from_yolo, region, several
from sightline.targets.boxes import MATCH, matching, overlaps

SIDE, COLUMNS, LAYER = 128, 4, "backbone.body.2"
FAMILIES = "faster r-cnn", "mask r-cnn", "keypoint r-cnn", "retinanet", "fcos", "ssd"
ENDS = "cls_logits", "bbox_reg", "bbox_ctrness", "cls_score", "bbox_pred", "module_list"


def pyramid() -> Any:
    """A small backbone with a feature pyramid: strides 4, 8 and 16."""
    features = SmallResNet(2, widths=(16, 32), blocks=1, stem=8).features
    return backbone_utils.BackboneWithFPN(features, {"1": "0", "2": "1"}, [16, 32], 32)


def family(name: str) -> Any:
    """One of torchvision's detectors on the small backbone, whose own transform does nothing."""
    backbone = pyramid()
    many: dict[str, Any] = {"rpn_post_nms_top_n_test": 60}
    sizes = AnchorGenerator(((16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 3)
    same = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    square: dict[str, Any] = {"min_size": SIDE, "max_size": SIDE} | same
    if name == "ssd":
        backbone.out_channels = [32, 32, 32]
        return SSD(backbone, DefaultBoxGenerator([[2], [2], [2]]), (SIDE, SIDE), COLUMNS, **same)
    if name == "retinanet":
        return tv.RetinaNet(backbone, COLUMNS, anchor_generator=sizes, **square)
    if name == "fcos":
        points = AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)
        return tv.FCOS(backbone, COLUMNS, anchor_generator=points, **square)
    if name == "keypoint r-cnn":
        many |= {"keypoint_head": KeypointRCNNHeads(32, (8,)), "keypoint_predictor": KeypointRCNNPredictor(8, 3)}
    build = {"faster r-cnn": tv.FasterRCNN, "mask r-cnn": tv.MaskRCNN, "keypoint r-cnn": tv.KeypointRCNN}[name]
    return build(backbone, COLUMNS, rpn_anchor_generator=sizes, **many, **square)


def ends(detector: Any) -> dict[str, Any]:
    """The last layers of its heads, which start at zero or constant."""
    return {
        name: module for name, module in detector.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and any(end in name for end in ENDS)
    }  # fmt: skip


def picture(n: int = 1, side: int = SIDE) -> Tensor:
    """Images of coarse and of fine noise."""
    draw = torch.Generator().manual_seed(3)
    coarse = torch.randn(n, 3, side // 8, side // 8, generator=draw)
    return interpolate(coarse, (side, side)) + 0.2 * torch.randn(n, 3, side, side, generator=draw)


def enlivened(detector: Any) -> Any:
    """The detector with batch norms that fit its images, and heads drawn so that its answers differ."""
    draw = torch.Generator().manual_seed(1)
    images = picture(4)
    given: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        detector.train().backbone(images)
        detector.eval()
        handles = []
        for name, module in ends(detector).items():
            module.weight.normal_(generator=draw)
            if module.bias is not None:
                module.bias.zero_()
            note: Any = lambda _, __, out, name=name: given.setdefault(name, []).append(out.flatten())  # noqa: E731
            handles.append(module.register_forward_hook(note))
        Unsuppressed()(detector, images)
        for handle in handles:
            handle.remove()
        for name, module in ends(detector).items():
            spread = 2.0 if "cls" in name or "classification" in name else 0.5
            module.weight.mul_(spread / torch.cat(given[name]).std())
    return detector


@cache
def lively(name: str) -> Any:
    return enlivened(seeded(lambda: family(name)))


@cache
def trained() -> sightline.Model:
    return sightline.load("objects", device="cpu")


def candidates_of(name: str, images: Tensor) -> Candidates:
    with torch.no_grad():
        return Adapted(lively(name), Unsuppressed())(images)


# The candidates are the detector's own.


@pytest.mark.parametrize("name", FAMILIES)
def test_candidates_after_suppression_are_the_detectors_own_answer(name: str) -> None:
    detector, images = lively(name), picture(2)
    place = detector if hasattr(detector, "score_thresh") else detector.roi_heads
    place.score_thresh, place.detections_per_img = 0.5, 10**5
    detector.topk_candidates = 10**6
    with torch.no_grad():
        own = detector(list(images))
    found = detections(candidates_of(name, images), share=0.5, overlap=place.nms_thresh, most=10**5)
    first = 0 if name in ("retinanet", "fcos") else 1  # the background's column, which ours leave out
    for theirs, ours in zip(own, found, strict=True):
        kept = (theirs["boxes"][:, 2:] - theirs["boxes"][:, :2]).amin(1) >= 1e-2  # only an R-CNN drops empty boxes
        shown = zip(theirs["boxes"][kept], theirs["labels"][kept], theirs["scores"][kept], strict=True)
        true = sorted((int(label) - first, float(score), *where.tolist()) for where, label, score in shown)
        rows = sorted((each.index, each.share, *each.box) for each in ours)
        assert rows
        assert_close(torch.tensor(rows), torch.tensor(true), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_several_images_are_answered_as_each_alone(name: str) -> None:
    images = picture(2)
    both, second = candidates_of(name, images), candidates_of(name, images[1:])
    for joint, alone in zip(both, second, strict=True):
        assert_close(joint[1], alone[0], atol=1e-3, rtol=1e-3)


def test_proposals_are_filled_up_with_the_first_and_an_image_without_any_has_an_empty_one() -> None:
    detector = lively("faster r-cnn")
    found = candidates_of("faster r-cnn", picture())
    assert found.boxes.shape == (1, 60, COLUMNS - 1, 4)
    filled = torchvision_detection._filled(torch.tensor([[1], [2], [3], [4], [5]]), [2, 3], 4)
    assert filled[..., 0].tolist() == [[1, 2, 1, 1], [3, 4, 5, 3]]
    threshold = detector.rpn.score_thresh
    try:
        detector.rpn.score_thresh = 2.0
        none = candidates_of("faster r-cnn", picture())
    finally:
        detector.rpn.score_thresh = threshold
    assert none.logits.shape == found.logits.shape
    assert (none.logits == none.logits[:, :1]).all()
    assert not none.boxes.any()
    assert detections(none, share=0) == [[]]


def test_fcos_explains_its_class_and_ranks_by_its_centreness_too() -> None:
    detector, images = lively("fcos"), picture()
    with torch.no_grad():
        head = detector.head(list(detector.backbone(images).values()))
    found = candidates_of("fcos", images)
    assert_close(found.logits, head["cls_logits"])
    assert_close(found.shares**2, head["cls_logits"].sigmoid() * head["bbox_ctrness"].sigmoid())


def test_columns_are_the_classes_in_their_order() -> None:
    detector, images = lively("ssd"), picture()
    every, some = Unsuppressed((0, 1, 2, 3)), Unsuppressed((3, 1))
    with torch.no_grad():
        found, fewer = every(detector, images), some(detector, images)
    assert_close(found.shares.sum(-1), torch.ones_like(found.shares[..., 0]))
    assert torch.equal(fewer.logits, found.logits[..., [3, 1]])
    assert torch.equal(fewer.shares, found.shares[..., [3, 1]])
    assert torch.equal(candidates_of("ssd", images).logits, found.logits[..., 1:])


def test_only_torchvisions_detectors_are_called_so() -> None:
    model = sightline.wrap(Pooled(), task="boxes", call=Unsuppressed())
    with pytest.raises(ModelError, match="Pooled is none of torchvision's detectors"):
        sightline.maps(model.module, noise(), box((0, 0, 4, 4), 0), layer="features")


# A box's map is of that box.


def far_apart(found: Candidates, count: int = 3) -> list[tuple[list[float], list[float]]]:
    """Pairs of middling candidates that lie half an image apart."""
    boxes = found.boxes[0] if found.boxes.ndim == 3 else found.boxes[0, :, 0]
    sizes = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[((sizes > SIDE / 12) & (sizes < SIDE / 2.5)).all(1)]
    middles = (boxes[:, 2:] + boxes[:, :2]) / 2
    apart = (torch.cdist(middles, middles, p=torch.inf) > SIDE / 2).triu().nonzero()
    return [(boxes[i].tolist(), boxes[j].tolist()) for i, j in apart[:: max(len(apart) // count, 1)][:count]]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_map_of_a_random_detectors_box_is_of_that_box(name: str) -> None:
    module, images = Adapted(lively(name), Unsuppressed()), picture()
    pairs = far_apart(candidates_of(name, images))
    assert len(pairs) == 3
    rows = []
    for this, that in (*pairs, *((that, this) for this, that in pairs)):
        found = sightline.maps(module, images, box(this, 0), layer=LAYER, method="hirescam")
        assert found.any()
        rows.append(energies(found, this, [that], (SIDE, SIDE)))
    own, other, area, other_area, _ = torch.tensor(rows).mean(0).tolist()
    print(f"{name}: {own:.2f} of the energy in the box, {other:.2f} in the other; even: {area:.2f}, {other_area:.2f}")
    assert own > 2 * area
    assert other < own / 3


def test_gradients_of_two_boxes_are_those_of_each() -> None:
    """Also where both are asked at once, and for the detector with an operation that has no batched gradient."""
    for name in ("faster r-cnn", "fcos"):
        module, images = Adapted(lively(name), Unsuppressed()), picture()
        this, that = far_apart(candidates_of(name, images))[0]
        both = sightline.maps(module, images, several(box(this, 0), box(that, 1)), layer=LAYER)
        for place, target in enumerate((box(this, 0), box(that, 1))):
            assert_close(both[:, place], sightline.maps(module, images, target, layer=LAYER))


@pytest.mark.parametrize("name", ["faster r-cnn", "retinanet", "fcos", "ssd"])
def test_nothing_is_detached_on_the_way_to_a_logit(name: str) -> None:
    """Gradient times activation, summed, is how fast the logit grows with the activations; proposals stay."""
    detector, images = deepcopy(lively(name)).double(), picture().double()
    if name == "faster r-cnn":
        with torch.no_grad():
            given = dict(detector.backbone(images))
            fixed = detector.rpn(ImageList(images, [(SIDE, SIDE)]), given)[0][0]
        detector.rpn.forward = lambda images, features: ([fixed] * len(images.image_sizes), {})
    module = Adapted(detector, Unsuppressed())
    with torch.no_grad():
        place = int(module(images).shares[0, :, 0].argmax())

    def score(output: Candidates) -> Tensor:
        return output.logits[:, place, 0]

    slope = sightline.maps(module, images, score, layer=LAYER, method="hirescam").sum()
    seen: list[Tensor] = []
    handle = detector.get_submodule(LAYER).register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    module(images)
    handle.remove()
    step = 1e-6
    up, down = score(Head(module, images, find(module, LAYER))(torch.cat([seen[0] * (1 + step), seen[0] * (1 - step)])))
    assert abs(float(slope)) > 1e-3
    assert_close(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["faster r-cnn", "retinanet", "fcos", "ssd"])
def test_the_head_alone_answers_as_the_whole(name: str) -> None:
    module, images = Adapted(lively(name), Unsuppressed()), picture()
    head = Head(module, images, find(module, LAYER))
    assert head._replays
    seen: list[Tensor] = []
    handle = lively(name).get_submodule(LAYER).register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    module(images)
    handle.remove()
    found = head(torch.cat([seen[0], seen[0] * 1.1]))
    assert_close(found.logits[:1], candidates_of(name, images).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found.logits[1], found.logits[0])


def test_the_trained_detector_finds_and_its_maps_are_of_their_boxes() -> None:
    """Far more of a map's energy lies in the chosen box than in the others, and than in an even map."""
    model, samples = trained(), list(shapes(24, seed=5, objects=(2, 3)))
    assert (model.task, model.layer, model.labels.names) == (Task.BOXES, "backbone", CLASSES)
    images = torch.stack([model.preprocess(sample.picture) for sample in samples])
    with torch.no_grad():
        rows = detections(model.module(images), share=0.5)
    right = 0
    for sample, row in zip(samples, rows, strict=True):
        for truth in sample.truths:
            same = [each.box for each in row if CLASSES[each.index] == truth.label]
            right += any(float(overlaps(torch.tensor(each), torch.tensor(truth.boxes[0]))) > 0.5 for each in same)
    assert right >= 0.9 * sum(len(sample.truths) for sample in samples)
    figures = {method: specificity(model, images, rows, method) for method in ("hirescam", "grad-cam")}
    print(figures)
    local, pooled = figures["hirescam"], figures["grad-cam"]
    assert local["in the box"] > 0.8 > 8 * local["an even map, in the box"]
    assert local["in the others"] < 0.03 < 0.5 * local["an even map, in the others"]
    assert local["highest in the box"] > 0.97
    assert pooled["in the box"] > 2 * pooled["in the others"]


def test_of_two_objects_of_a_class_each_has_its_own_map() -> None:
    """Pictures beside each other, with one object each: the net has never seen two of a class."""
    model = trained()
    singles: dict[str, list[Painting]] = {}
    for place in range(40):
        painting = scene(place, seed=3, objects=(1, 1))
        singles.setdefault(painting.things[0].name, []).append(painting)
    asked = 0
    for label, (left, right, *_) in singles.items():
        image = torch.cat([model.preprocess(each.picture()) for each in (left, right)], 2)[None]
        with torch.no_grad():
            row = [each for each in detections(model.module(image))[0] if CLASSES[each.index] == label]
        if len(row) != 2:
            continue
        for this, that in (row, row[::-1]):
            found = sightline.maps(model.module, image, box(this.box, this.index), layer=model.layer, method="hirescam")
            own, other, *_ = energies(found, this.box, [that.box], (96, 192))
            assert own > 0.5 > 10 * other, label
            asked += 1
    assert asked >= 10


# Matching.


def test_a_box_is_matched_by_hand() -> None:
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [50, 50, 60, 60]]]).float()
    shares = torch.tensor([[[0.5, 0.1], [0.9, 0.1], [0.99, 0.2], [1.0, 1.0]]])
    logits = torch.arange(8.0).view(1, 4, 2).requires_grad_()
    found = Candidates(boxes, logits, shares)
    # As class 0: 1 x 0.5, 0.8 x 0.9, and 0.4 < MATCH, which comes after those; as class 1: 0.1, 0.08.
    assert [int(matching(found, torch.tensor([0.0, 0, 10, 10]), index)) for index in (0, 1)] == [1, 0]
    assert box((0, 0, 10, 10), 0)(found).item() == 2
    assert box((0, 0, 10, 10), 1)(found).item() == 1
    (gradient,) = torch.autograd.grad(box((0, 0, 10, 10), 0)(found).sum(), logits)
    assert gradient.nonzero().tolist() == [[0, 1, 0]]
    assert int(matching(found, torch.tensor([0.0, 0, 10, 3]), 1)) == 2  # 0.75 of an overlap
    assert MATCH == 0.5
    with pytest.raises(TargetError, match="no class 2: the model has 2"):
        box((0, 0, 10, 10), 2)(found)
    with pytest.raises(TargetError, match="gives a Tensor, not candidate boxes"):
        box((0, 0, 10, 10), 0)(torch.zeros(1, 2))


@pytest.mark.parametrize("own", [False, True])
def test_boxes_are_matched_as_loops_match_them(own: bool) -> None:
    draw = torch.Generator().manual_seed(2)
    corner = torch.rand(3, 40, 2, 2, generator=draw) * 40
    boxes = torch.cat([corner, corner + 5 + torch.rand(3, 40, 2, 2, generator=draw) * 40], -1)
    boxes = boxes if own else boxes[:, :, 0]
    found = Candidates(boxes, torch.randn(3, 40, 2, generator=draw), torch.rand(3, 40, 2, generator=draw))
    chosen = torch.tensor([[0, 0, 30, 30], [20, 20, 60, 60], [10, 0, 50, 20]]).float()
    for index in (0, 1):
        scores = box(chosen, index)(found)
        for n in range(3):
            best, key = -1, (False, -1.0)
            for a in range(40):
                where = boxes[n, a, index] if own else boxes[n, a]
                overlap = float(box_iou(where[None], chosen[n : n + 1]))
                rank = (overlap >= MATCH, overlap * float(found.shares[n, a, index]))
                if rank > key:
                    best, key = a, rank
            assert float(scores[n]) == float(found.logits[n, best, index])


def test_what_is_shown_is_ranked_and_suppressed_class_by_class() -> None:
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [5, 5, 5, 9]]]).float()
    shares = torch.tensor([[[0.6, 0.35], [0.7, 0.1], [0.2, 0.4], [0.9, 0.9]]])
    found = Candidates(boxes, torch.zeros(1, 4, 2), shares)
    row = detections(found)[0]
    assert [(each.index, round(each.share, 2)) for each in row] == [(0, 0.7), (1, 0.4), (1, 0.35)]
    assert [each.box for each in row] == [(0, 0, 10, 9), (20, 0, 30, 10), (0, 0, 10, 10)]
    assert [each.share for each in detections(found, overlap=0.95)[0]][:2] == pytest.approx([0.7, 0.6])
    assert len(detections(found, most=1)[0]) == 1
    assert detections(found, share=0.8) == [[]]
    own = Candidates(torch.stack([boxes, boxes + 1], 2), found.logits, shares)
    assert [each.box for each in detections(own)[0]] == [(0, 0, 10, 9), (21, 1, 31, 11), (1, 1, 11, 11)]
    with pytest.raises(TargetError, match="share=30 and overlap"):
        detections(found, share=30)


# Other detectors' outputs.


def test_a_yolos_output_by_hand() -> None:
    rows = torch.tensor([[50, 40, 20, 10, 0.5, 0.25], [10, 10, 4, 6, 0.9, 0.1]])  # two candidates, two classes
    found = from_yolo(rows.T[None])
    assert found.boxes[0].tolist() == [[40, 35, 60, 45], [8, 7, 12, 13]]
    assert_close(found.shares, rows[None, :, 4:])
    assert_close(found.logits[0, 0], torch.tensor([0.0, -torch.log(torch.tensor(3.0))]))
    assert_close(found.logits[0, 1], torch.tensor([1.0, -1.0]) * torch.log(torch.tensor(9.0)))
    for given in ((rows.T[None], [torch.zeros(1)]), [rows.T[None]]):  # beside the raw maps, as many give it
        assert torch.equal(from_yolo(given).logits, found.logits)


def test_a_yolo_with_objectness_ranks_and_explains_the_product() -> None:
    rows = torch.tensor([[[50, 40, 20, 10, 0.5, 0.5, 1.0]]])
    found = from_yolo(rows, objectness=True)
    assert_close(found.shares[0, 0], torch.tensor([0.25, 0.5]))
    assert_close(found.logits[0, 0], torch.tensor([-torch.log(torch.tensor(3.0)), 0.0]))


@pytest.mark.parametrize("objectness", [False, True])
def test_a_yolos_logits_are_its_probabilities(objectness: bool) -> None:
    raw = torch.randn(2, 7, 5 + 3, generator=torch.Generator().manual_seed(0)).double() * 3
    raw = raw if objectness else raw[..., :7]
    sure = torch.cat([raw[..., :4], raw[..., 4:].sigmoid()], -1)
    given = [values if objectness else values.transpose(1, 2) for values in (raw, sure)]
    these, those = (
        from_yolo(values, objectness=objectness, logits=logits)
        for values, logits in zip(given, (True, False), strict=True)
    )
    assert_close(these.shares, those.shares)
    assert_close(these.logits, those.logits, atol=1e-6, rtol=1e-6)
    if not objectness:
        assert_close(these.logits, raw[..., 4:], atol=1e-6, rtol=1e-6)


def test_a_yolo_that_is_sure_still_has_a_logit() -> None:
    assert from_yolo(torch.tensor([[[5.0], [5], [2], [2], [1], [0]]])).logits.isfinite().all()
    assert from_yolo(torch.tensor([[[5.0], [5], [2], [2], [90], [-90]]]), logits=True).logits.isfinite().all()


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (torch.zeros(1, 4, 9), {}, r"\(N, 4 \+ classes, A\) is expected, got \(1, 4, 9\)"),
        (torch.zeros(1, 9, 5), {"objectness": True}, r"\(N, A, 5 \+ classes\).*got \(1, 9, 5\)"),
        ({"boxes": 1}, {}, "got dict"),
        (torch.full((1, 6, 9), 2.0), {}, "logits=True"),
    ],
)
def test_an_output_that_is_no_yolos_is_refused(given: Any, options: dict[str, bool], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        from_yolo(given, **options)


class Yolo(nn.Module):
    """A net that answers as YOLOs do from version 8 on: one candidate a cell, of 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU())
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        scores = self.head(self.features(images))
        rows, columns = scores.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows) * 8.0 + 4, torch.arange(columns) * 8.0 + 4, indexing="ij")
        where = torch.stack([x, y, torch.full_like(x, 8), torch.full_like(x, 8)]).expand(len(images), -1, -1, -1)
        return torch.cat([where, scores.sigmoid()], 1).flatten(2), [scores]


def test_a_yolo_is_explained_in_the_documented_way() -> None:
    model = sightline.wrap(seeded(Yolo), task="boxes", layer="features", call=lambda net, image: from_yolo(net(image)))
    found = sightline.maps(model.module, noise(1, 32, 32), box((8, 16, 16, 24), 1), layer="features", method="hirescam")
    assert found[0].nonzero().tolist() == [[2, 1]]
    weight = model.module.module.head.weight[1, :, 0, 0].detach()
    values = model.module.module.features(noise(1, 32, 32))[0, :, 2, 1].detach()
    assert_close(found[0, 2, 1], (weight * values).sum())


def test_a_detrs_output_by_hand() -> None:
    logits, where = torch.tensor([[[2.0, 1.0, 0.0]]]), torch.tensor([[[0.5, 0.5, 0.5, 1.0]]])
    found = from_detr(SimpleNamespace(logits=logits, pred_boxes=where), (100, 200))
    assert found.boxes.tolist() == [[[50, 0, 150, 100]]]
    assert torch.equal(found.logits, logits[..., :2])
    assert_close(found.shares, logits.softmax(-1)[..., :2])
    each = from_detr({"pred_logits": logits, "pred_boxes": where}, (100, 200), no_object=False)
    assert torch.equal(each.logits, logits)
    assert_close(each.shares, logits.sigmoid())
    with pytest.raises(TargetError, match=r"pred_boxes \(N, Q, 4\) are expected, got a Tensor"):
        from_detr(torch.zeros(1, 2), (1, 1))


# Sources.


def test_a_detector_comes_with_the_named_classes_of_coco() -> None:
    model = sightline.load("fasterrcnn_mobilenet_v3_large_320_fpn", weights="random", device="cpu")
    assert (model.task, model.source, model.layer) == (Task.BOXES, "torchvision", "backbone.body.16")
    assert (model.preprocess.size, model.preprocess.fit) == ((320, 320), "pad")
    assert len(model.labels) == 80
    assert not {"N/A", "__background__"} & set(model.labels.names)
    assert (model.labels[0], model.labels[11], model.labels[79]) == ("person", "stop sign", "toothbrush")
    columns = model.module.call.columns
    assert (columns[0], columns[11], columns[79]) == (1, 13, 90)  # COCO's own ids
    assert find(model.module, model.layer).module is model.module.module.backbone.body["16"]
    with pytest.raises(ModelError, match="COCO_V1"):
        sightline.load("fasterrcnn_mobilenet_v3_large_320_fpn", weights="BEST")


def test_ssdlite_from_a_file_of_weights_and_explained(tmp_path: Path) -> None:
    name = "ssdlite320_mobilenet_v3_large"
    drawn = sightline.load(name, weights="random", device="cpu")
    enlivened(drawn.module.module)
    save_file(drawn.module.module.state_dict(), tmp_path / "weights.safetensors")
    model = sightline.load(name, weights=tmp_path / "weights.safetensors", device="cpu")
    assert model.preprocess == sightline.Preprocess((320, 320), "squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    images = picture(side=320)
    with torch.no_grad():
        found, same = model.module(images), drawn.module(images)
    assert torch.equal(found.logits, same.logits)
    assert found.logits.shape[2] == len(model.labels) == 80
    best = int(found.shares[0, :, 0].argmax())
    assert sightline.maps(model.module, images, box(found.boxes[0, best], 0), layer=model.layer).shape == (1, 20, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision_detection.names())
def test_every_detector_loads_and_names_its_layer(name: str) -> None:
    model = sightline.load(name, weights="random", device="cpu")
    expected = {"fasterrcnn_m": "backbone.body.16", "ssd300": "backbone.features", "ssdlite": "backbone.features.0"}
    layer = next((layer for start, layer in expected.items() if name.startswith(start)), "backbone.body.layer4")
    assert model.layer == layer
    assert find(model.module, layer)
    assert model.labels.names[0] == "person"
    assert len(model.labels) == (1 if name.startswith("keypoint") else 80)
    if name.startswith("ssd300"):
        with torch.no_grad():
            assert model.module(picture(side=300)).logits.shape == (1, 8732, 80)


SEGMENTERS = {"deeplabv3_mobilenet_v3_large": "backbone:out", "lraspp_mobilenet_v3_large": "backbone:high"}


@pytest.mark.parametrize(("name", "layer"), SEGMENTERS.items())
def test_a_segmentation_nets_region_has_a_map(name: str, layer: str) -> None:
    model = sightline.load(name, weights="random", device="cpu")
    assert (model.task, model.layer, model.preprocess.size) == (Task.REGIONS, layer, (512, 512))
    assert (len(model.labels), model.labels[0], model.labels[12]) == (21, "__background__", "dog")
    mask = torch.zeros(SIDE, SIDE)
    mask[:32, :32] = 1
    images = picture()
    found = sightline.maps(model.module, images, region(mask, 12), layer=layer, method="input-x-gradient")
    assert found.shape == (1, SIDE, SIDE)
    found = sightline.maps(model.module, images, region(mask, 12), layer=layer, method="hirescam")
    assert found.shape == (1, 8, 8)
    seen: dict[str, Tensor] = {}
    part = layer.partition(":")[2]

    def note(_: Any, __: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
        seen["value"] = given[part].detach().requires_grad_()
        return OrderedDict(given) | {part: seen["value"]}

    handle = model.module.backbone.register_forward_hook(note)
    score = model.module(images)["out"][0, 12, :32, :32].mean()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen["value"])
    true = (gradient * seen["value"]).sum(1).detach()
    assert_close(found / true.abs().max(), true / true.abs().max(), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision_segmentation.names())
def test_every_segmentation_net_loads_with_the_published_weights_keys(name: str) -> None:
    model = sightline.load(name, weights="random", device="cpu")
    second = any(key.startswith("aux_classifier") for key in model.module.state_dict())
    assert second == (not name.startswith("lraspp"))
    assert find(model.module, model.layer or "").part == ("high" if name.startswith("lraspp") else "out")


# Layers that give several tensors.


class Levels(nn.Module):
    """Two maps of one, as a `kind` of container gives them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 5, 3, padding=1), kind

    def forward(self, images: Tensor) -> Any:
        fine = self.conv(images)
        coarse = nn.functional.avg_pool2d(fine, 2).tanh()
        return {"fine": fine, 2: coarse} if self.kind == "dict" else [torch.zeros(2).long(), fine, coarse]


class TwoLevels(nn.Module):
    """A net whose classes see both maps of `levels`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.levels, self.kind = Levels(kind), kind
        self.fine, self.coarse = nn.Linear(5, 4), nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        given = self.levels(images)
        fine, coarse = (given["fine"], given[2]) if self.kind == "dict" else given[1:]
        return self.fine(fine.square().mean((2, 3))) + self.coarse(coarse.square().mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "first", "second"), [("dict", "levels:fine", "levels:2"), ("list", "levels:1", "levels:2")]
)
def test_a_part_of_what_a_layer_gives(kind: str, first: str, second: str) -> None:
    """The gradient of class 1 at a part is 2 w x / cells, and no other is touched; the first is meant by default."""
    model, images = seeded(lambda: TwoLevels(kind)), noise()
    with torch.no_grad():
        fine = model.levels.conv(images)
        coarse = nn.functional.avg_pool2d(fine, 2).tanh()
    for layer, values, head in ((first, fine, model.fine), (second, coarse, model.coarse)):
        weights = 2 * head.weight[1].detach()[:, None, None] * values / values[0, 0].numel()
        true = (weights * values).sum(1)
        assert_close(sightline.maps(model, images, 1, layer=layer, method="hirescam"), true)
    default = sightline.maps(model, images, 1, layer="levels")
    assert torch.equal(default, sightline.maps(model, images, 1, layer=first))
    both = sightline.maps(model, images, 1, layer=[first, second], method="hirescam")
    for found, layer in zip(both, (first, second), strict=True):
        assert_close(found, sightline.maps(model, images, 1, layer=layer, method="hirescam"))


@pytest.mark.parametrize("method", ["ablation-cam", "score-cam"])
def test_a_part_is_edited_alone(method: str) -> None:
    """Ablation of a channel of the second map leaves the first as it was: the drop is that channel's own share."""
    model, images = seeded(lambda: TwoLevels("dict")), noise(1)
    found = sightline.maps(model, images, 1, layer="levels:2", method=method)
    assert found.shape == (1, 4, 4)
    with torch.no_grad():
        coarse = nn.functional.avg_pool2d(model.levels.conv(images), 2).tanh()
        score = model(images)[0, 1]
        drops = model.coarse.weight[1] * coarse.square().mean((2, 3))[0] / score
    if method == "ablation-cam":
        assert_close(found[0], (drops[:, None, None] * coarse[0]).sum(0).clamp(min=0), atol=1e-5, rtol=1e-4)


def test_the_name_of_a_part() -> None:
    model = seeded(lambda: TwoLevels("dict"))
    layer = find(model, ("levels:2", 0))
    assert (layer.name, layer.part, layer.call, layer.asked) == ("levels", "2", 0, "levels:2")
    assert str(layer) == "levels:2 (call 0)"
    assert str(find(model, "levels:2")) == "levels:2"
    assert same_in(seeded(lambda: TwoLevels("dict")), [layer])[0].part == "2"
    odd = nn.ModuleDict({"a:b": nn.Conv2d(3, 4, 1)})  # a name may hold a colon of its own
    assert find(odd, "a:b").part is None
    with pytest.raises(LayerNotFound, match="no layer 'nothing:2'"):
        find(model, "nothing:2")


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("dict", "levels:coarse", r"'levels' \(Levels\) has no part 'coarse': it gives the parts fine, 2"),
        ("list", "levels:0", "no part '0': it gives the parts 1, 2"),
        ("dict", "levels.conv:0", "no part '0': it gives a Tensor; name the layer alone"),
        ("dict", "levels:", "no part '': it gives the parts fine, 2"),
    ],
)
def test_a_part_that_is_not_there(kind: str, layer: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        sightline.maps(seeded(lambda: TwoLevels(kind)), noise(), 1, layer=layer)


def test_a_levels_map_is_empty_for_a_box_of_another_level() -> None:
    """Why the recommended layer stands before the pyramid: all candidates depend on it."""
    module, images = Adapted(lively("fcos"), Unsuppressed()), picture()
    levels = [SIDE * SIDE // stride**2 for stride in (4, 8, 16)]
    candidate: Callable[[int], Any] = lambda place: lambda output: output.logits[:, place, 0]  # noqa: E731
    first, last = candidate(levels[0] // 2), candidate(sum(levels) - 1)
    for target, empty, full in ((first, "backbone:1", "backbone:0"), (last, "backbone:0", "backbone:pool")):
        assert not sightline.maps(module, images, target, layer=empty, method="layer-cam").any()
        assert sightline.maps(module, images, target, layer=full, method="layer-cam").any()
        assert sightline.maps(module, images, target, layer=LAYER, method="layer-cam").any()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("retinanet", "backbone.fpn.inner_blocks.1"),
        ("fcos", "backbone.fpn.inner_blocks.1"),
        ("ssd", "backbone.fpn.inner_blocks.1"),
    ],
)
def test_the_layer_chosen_for_a_detector_of_ones_own_is_before_the_pyramid_parts(name: str, layer: str) -> None:
    """The lateral convolution of the last stage: what every level is made of."""
    choice = chosen_layer(Adapted(lively(name), Unsuppressed()), picture())
    assert choice.layer.name == layer
    assert "all boxes depend on" in choice.why


def test_the_layer_chosen_for_a_yolo_is_its_features() -> None:
    model = sightline.wrap(seeded(Yolo), task="boxes", call=lambda net, image: from_yolo(net(image)))
    assert chosen_layer(model.module, noise(1, 32, 32)).layer.name == "features"


def test_boxes_are_asked_about_by_number_and_by_class() -> None:
    """From the picture to the map, in the picture's own pixels."""
    model, sample = trained(), shapes(1, seed=5, objects=2)[0]
    found = {
        each.asked[0].index: each for each in (sightline.explain(model, sample.picture, f"box:{n}") for n in (1, 2))
    }
    for truth in sample.truths:
        one = found[CLASSES.index(truth.label)]
        assert one.layer == "backbone"
        where = one.asked[0].box
        assert where is not None
        assert float(overlaps(torch.tensor(where), torch.tensor(truth.boxes[0]))) > 0.6
        assert torch.equal(one.maps, sightline.explain(model, sample.picture, truth.label).maps)
    with pytest.raises(TargetError, match="no box '3'; the model finds 1 "):
        sightline.explain(model, sample.picture, "box:3")
