"""Train the embedded detector of generated shapes, and measure it: python recipes/objects.py [--report].

Its weights are written to src/sightline/bundled/objects.safetensors. With `--report` nothing is trained: the
embedded detector is measured, and the figures printed and put into its card, objects.json.

Everything is drawn from seeds, nothing is downloaded. The backbone starts as the embedded net of shapes; AdamW on
a one-cycle schedule, pictures turned and mirrored, bf16 autocast, one thread: about eight minutes.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from object_figures import figures
from safetensors.torch import save
from scene_pictures import stacked
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

import sightline
from sightline.bundled.detector import small_fcos
from sightline.datasets.painting import Painting, dice, ground
from sightline.datasets.shapes import CLASSES, scene
from sightline.sources import bundled

PACKAGE = Path(__file__).parents[1] / "src/sightline/bundled"
SIZE, SCENES, EMPTY = 96, 8000, 200
EPOCHS, RATE, BATCH = 12, 3e-3, 64

Target = dict[str, Tensor]
"""As torchvision's detectors are trained on: `boxes` (n, 4) and `labels` (n,)."""


def data() -> tuple[Tensor, list[Target]]:
    """Scenes of one to three shapes and empty grounds, and what is in each."""
    paintings = [scene(place, "train") for place in range(SCENES)]
    paintings += [Painting(ground(dice("empty", "train", place), SIZE)) for place in range(EMPTY)]
    return stacked(painting.picture() for painting in paintings), [target(painting) for painting in paintings]


def target(painting: Painting) -> Target:
    """The boxes and classes of a painting's things."""
    truths = [painting.truth(thing.name) for thing in painting.things]
    boxes = [box for truth in truths for box in truth.boxes]
    labels = [CLASSES.index(truth.label) for truth in truths for _ in truth.boxes]
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels, dtype=torch.int64)}


def turned(pictures: Tensor, targets: Sequence[Target]) -> tuple[Tensor, list[Target]]:
    """All pictures in one of the eight ways to lay a square, which one by chance, and their boxes with them."""
    upside, mirrored, across = (torch.rand(3) < 0.5).tolist()
    boxes = [each["boxes"] for each in targets]
    if upside:
        pictures = pictures.flip(2)
        boxes = [torch.stack([x0, SIZE - y1, x1, SIZE - y0], 1) for x0, y0, x1, y1 in map(columns, boxes)]
    if mirrored:
        pictures = pictures.flip(3)
        boxes = [torch.stack([SIZE - x1, y0, SIZE - x0, y1], 1) for x0, y0, x1, y1 in map(columns, boxes)]
    if across:
        pictures = pictures.transpose(2, 3)
        boxes = [each[:, [1, 0, 3, 2]] for each in boxes]
    return pictures, [each | {"boxes": new} for each, new in zip(targets, boxes, strict=True)]


def columns(boxes: Tensor) -> tuple[Tensor, ...]:
    return boxes.unbind(1)


def loss_of(detector: Any, images: Tensor, targets: list[Target]) -> Tensor:
    """FCOS's own loss; the net runs in half precision, the loss does not."""
    with torch.autocast("cpu", torch.bfloat16):
        features = detector.backbone(images)
        found = detector.head([features])
    anchors = detector.anchor_generator(ImageList(images, [(SIZE, SIZE)] * len(images)), [features])
    found = {name: values.float() for name, values in found.items()}
    losses: dict[str, Tensor] = detector.compute_loss(targets, found, anchors, [features[0, 0].numel()])
    return torch.stack(list(losses.values())).sum()


def train() -> nn.Module:
    """A detector trained from its seed."""
    torch.manual_seed(0)
    detector = small_fcos(len(CLASSES))
    detector.backbone.load_state_dict(bundled.load("shapes").module.features.state_dict())  # type: ignore[union-attr]
    detector = detector.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    pictures, targets = data()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=len(pictures) // BATCH * EPOCHS)
    for epoch in range(EPOCHS):
        started, losses = time.monotonic(), []
        for chosen in torch.randperm(len(pictures))[: len(pictures) // BATCH * BATCH].split(BATCH):
            shown, wanted = turned(pictures[chosen], [targets[place] for place in chosen.tolist()])
            images = ((shown.float() / 255 - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
            loss = loss_of(detector, images, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        seconds = round(time.monotonic() - started)
        print(json.dumps({"epoch": epoch, "loss": round(sum(losses) / len(losses), 4), "s": seconds}), flush=True)
    return detector.eval()


def report() -> None:
    """Measure the embedded detector, print the figures and put them into its card."""
    model = sightline.load("objects", device="cpu")
    found = {
        "figures": {"command": "python recipes/objects.py --report", **figures(model)},
        "weights_hash": model.weights_hash,
        "parameters": sum(p.numel() for p in model.module.parameters()),
    }
    print(json.dumps(found, indent=2))
    card = json.dumps(bundled.card("objects") | found, indent=2)
    (PACKAGE / "objects.json").write_text(card + "\n", encoding="utf-8")


def main() -> None:
    """Train, or report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="measure the embedded detector instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.report:
        report()
        return
    state = train().state_dict()
    weights = {key: value.half().contiguous() for key, value in state.items() if value.is_floating_point()}
    (PACKAGE / "objects.safetensors").write_bytes(save(weights))


if __name__ == "__main__":
    main()
