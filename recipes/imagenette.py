"""Train the embedded ten-class photo net from scratch: python recipes/imagenette.py --data FOLDER --out FILE.

FOLDER holds `train.npz` and `val.npz` (136 px JPEG bytes: `jpeg`, `offsets`, `labels`, `classes`).
Small pictures first (64, 96, then 128 px), random crops, flips, colour jitter and CutMix (arXiv
1905.04899), label smoothing, SGD on a one-cycle schedule, bf16 autocast; then a short stage that
puts whole things into other pictures' frames, so that background stops being evidence. The
exponential moving average of the weights is what is kept. A run that is stopped goes on from
FILE.checkpoint.
"""

import argparse
import io
import json
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sightline.bundled.net import SmallResNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, DECAY, FRAME_WEIGHT = 128, 5e-4, 0.3


@dataclass(frozen=True)
class Stage:
    """Epochs under one learning-rate cycle: (pixels, epochs) in turn, the augmentation, the highest rate."""

    phases: tuple[tuple[int, int], ...]
    least_area: float
    cutmix_chance: float
    reframe_chance: float
    lr: float


STAGES = (
    Stage(((64, 20), (96, 30), (128, 30)), least_area=0.35, cutmix_chance=0.3, reframe_chance=0.0, lr=0.2),
    # Small crops and CutMix teach that a patch of sky is a parachute: accurate, but the maps then lie on
    # the background. The last stage shows whole things in the frames of other pictures, and asks that
    # a frame hold no evidence for the class of the picture that it was taken from.
    Stage(((128, 12),), least_area=0.6, cutmix_chance=0.0, reframe_chance=0.7, lr=0.1),
)


def read(file: Path) -> tuple[Tensor, Tensor, list[str]]:
    """uint8 pictures (n, 3, 136, 136), their labels (n,) and the class names."""
    with np.load(file) as data:
        jpeg, offsets = data["jpeg"].tobytes(), data["offsets"]
        labels, classes = torch.from_numpy(data["labels"].astype(np.int64)), data["classes"].tolist()
    pictures = np.stack(
        [np.asarray(Image.open(io.BytesIO(jpeg[start:end])).convert("RGB")) for start, end in pairwise(offsets)]
    )
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels, classes


def normalised(pictures: Tensor, size: int) -> Tensor:
    """uint8 pictures -> float images of `size` px."""
    images = pictures.float() / 255
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def augmented(pictures: Tensor, size: int, least_area: float) -> Tensor:
    """A random crop (`least_area` to all of it, aspect 3:4 to 4:3), flip and colour jitter of each picture."""
    n = len(pictures)
    area = torch.empty(n).uniform_(least_area, 1.0)
    aspect = torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    centre_x = (torch.rand(n) * 2 - 1) * (1 - width)
    centre_y = (torch.rand(n) * 2 - 1) * (1 - height)
    flip = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    affine = torch.stack([width * flip, zero, centre_x, zero, height, centre_y], 1).view(n, 2, 3)
    grid = F.affine_grid(affine, [n, 3, size, size], align_corners=False)
    images = F.grid_sample(pictures.float() / 255, grid, align_corners=False, padding_mode="reflection")
    gain = torch.empty(n, 3, 1, 1).uniform_(0.9, 1.1) * torch.empty(n, 1, 1, 1).uniform_(0.7, 1.3)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * torch.empty(n, 1, 1, 1).uniform_(0.6, 1.4)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (mean + (images - mean) * torch.empty(n, 1, 1, 1).uniform_(0.7, 1.3)) * gain
    return (images.clamp(0, 1) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def cutmix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
    """A rectangle of each image replaced by another's; returns the images, the other labels, the share kept."""
    order = torch.randperm(len(images))
    size = images.shape[-1]
    side = int(size * math.sqrt(float(torch.rand(()))))
    top, left = (int(torch.randint(0, size - side + 1, ()).item()) for _ in range(2))
    images[:, :, top : top + side, left : left + side] = images[order, :, top : top + side, left : left + side]
    return images, labels[order], 1 - (side / size) ** 2


def reframed(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each image's middle, 60-90 % of its sides, in the frame of another.

    Returns the images, whose labels stay the middles'; the frames' own labels; and the frame (H, W), 1 there, else 0.
    """
    size = images.shape[-1]
    order = torch.randperm(len(images))
    height, width = (int(size * float(torch.empty(()).uniform_(0.6, 0.9))) for _ in range(2))
    top, left = (size - height) // 2, (size - width) // 2
    frame = torch.ones(size, size)
    frame[top : top + height, left : left + width] = 0
    return torch.where(frame.bool(), images[order], images), labels[order], frame


def frame_evidence(features: Tensor, head: nn.Linear, labels: Tensor, frame: Tensor) -> Tensor:
    """Mean positive evidence, by the class activation map, that the frames' cells hold for the frames' own labels."""
    cells = F.adaptive_avg_pool2d(frame[None, None], features.shape[-2:])[0, 0] > 0.5
    maps = torch.einsum("nchw,nc->nhw", features.float(), head.weight[labels])
    return maps.relu()[:, cells].mean()


def accuracy(model: nn.Module, pictures: Tensor, labels: Tensor, size: int) -> float:
    """Share of pictures whose highest logit is their label's."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(pictures), 100):
            part = slice(start, start + 100)
            right += int((model(normalised(pictures[part], size)).argmax(1) == labels[part]).sum())
    return right / len(pictures)


def train(data: Path, out: Path, seed: int) -> None:
    """Run the stages, checkpointing after each epoch, and write half-precision safetensors to `out`."""
    torch.manual_seed(seed)
    pictures, labels, classes = read(data / "train.npz")
    held_out = read(data / "val.npz")[:2]
    model = SmallResNet(len(classes)).to(memory_format=torch.channels_last)
    average = averaged(model)
    checkpoint = out.with_suffix(".checkpoint")
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {"stage": 0}
    for number in range(state["stage"], len(STAGES)):
        if number:
            model.load_state_dict(average.module.state_dict() if "average" not in state else inner(state["average"]))
            average = averaged(model)
        run_stage(number, model, average, pictures, labels, held_out, checkpoint, state)
        state = {}
    kept = {
        name: value.half().contiguous()
        for name, value in average.module.state_dict().items()
        if value.is_floating_point()
    }
    save_file(kept, out)
    for size in (128, 160):
        print(f"val accuracy at {size} px: {accuracy(average, *held_out, size):.4f}")


def averaged(model: nn.Module) -> AveragedModel:
    """The exponential moving average of a model's weights and batch-norm statistics."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)


def inner(average: dict[str, Tensor]) -> dict[str, Tensor]:
    """A moving average's weights as the model's own."""
    return {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}


def run_stage(
    number: int,
    model: SmallResNet,
    average: AveragedModel,
    pictures: Tensor,
    labels: Tensor,
    held_out: tuple[Tensor, Tensor],
    checkpoint: Path,
    state: dict[str, Any],
) -> None:
    """One stage of epochs under one learning-rate cycle, from the epoch after the one that `state` holds."""
    stage = STAGES[number]
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=stage.lr, momentum=0.9, nesterov=True)
    sizes = [size for size, epochs in stage.phases for _ in range(epochs)]
    steps = len(pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.lr, total_steps=steps * len(sizes), pct_start=0.15, cycle_momentum=False
    )
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if "epoch" in state and state["stage"] == number:
        first = state["epoch"] + 1
        torch.set_rng_state(state["rng"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    small: dict[int, Tensor] = {}
    for epoch in range(first, len(sizes)):
        size, started = sizes[epoch], time.monotonic()
        if size not in small:
            small = {size: shrunk(pictures, size)}
        loss = run_epoch(stage, model, average, optimizer, schedule, small[size], labels, size)
        told = {"stage": number, "epoch": epoch, "size": size, "loss": round(loss, 4)}
        told["val"] = round(accuracy(average, *held_out, 128), 4)
        print(json.dumps(told | {"s": round(time.monotonic() - started)}), flush=True)
        kept = {name: part.state_dict() for name, part in parts.items()}
        torch.save(
            kept | {"stage": number, "epoch": epoch, "rng": torch.get_rng_state()}, checkpoint.with_suffix(".part")
        )
        checkpoint.with_suffix(".part").replace(checkpoint)


def run_epoch(
    stage: Stage,
    model: SmallResNet,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Tensor,
    labels: Tensor,
    size: int,
) -> float:
    """One pass over the pictures in random order; the mean loss."""
    model.train()
    losses = []
    for chosen in torch.randperm(len(pictures)).split(BATCH):
        if len(chosen) < BATCH:
            break
        images, wanted = augmented(pictures[chosen], size, stage.least_area), labels[chosen]
        other, kept = wanted, 1.0
        if float(torch.rand(())) < stage.cutmix_chance:
            images, other, kept = cutmix(images, wanted)
        frames, frame = wanted, None
        if float(torch.rand(())) < stage.reframe_chance:
            images, frames, frame = reframed(images, wanted)
        with torch.autocast("cpu", torch.bfloat16):
            features = model.features(images.contiguous(memory_format=torch.channels_last))
            logits = model.head(model.pool(features).flatten(1)).float()
            loss = kept * F.cross_entropy(logits, wanted, label_smoothing=0.1)
            loss = loss + (1 - kept) * F.cross_entropy(logits, other, label_smoothing=0.1)
        if frame is not None:
            loss = loss + FRAME_WEIGHT * frame_evidence(features, model.head, frames, frame)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        losses.append(loss.item())
    return sum(losses) / len(losses)


def shrunk(pictures: Tensor, size: int) -> Tensor:
    """uint8 pictures at 17/16 of the size that they are cropped to, with antialiasing; never enlarged."""
    size = size * 17 // 16
    if size >= pictures.shape[-1]:
        return pictures
    parts = [
        F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
        for part in pictures.split(500)
    ]
    return torch.cat(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.data, options.out, options.seed)
