"""Train the embedded ten-class photo net from scratch: python recipes/imagenette.py --data FOLDER --out FILE.

FOLDER holds `train.npz` and `val.npz` (136 px JPEG bytes: `jpeg`, `offsets`, `labels`, `classes`).
Small pictures first (64, 96, then 128 px), random crops, flips, colour jitter and CutMix (arXiv
1905.04899), label smoothing, SGD on a one-cycle schedule, bf16 autocast; the exponential moving
average of the weights is what is kept. A run that is stopped goes on from FILE.checkpoint.
"""

import argparse
import io
import json
import math
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sightline.bundled.net import SmallResNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHASES = ((64, 20), (96, 30), (128, 30))  # (pixels, epochs)
BATCH, LR, DECAY = 128, 0.2, 5e-4
CUTMIX_CHANCE = 0.3


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


def augmented(pictures: Tensor, size: int) -> Tensor:
    """A random crop (35-100 % of the area, aspect 3:4 to 4:3), flip and colour jitter of each picture."""
    n = len(pictures)
    area = torch.empty(n).uniform_(0.35, 1.0)
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
    """Run all phases, checkpointing after each epoch, and write half-precision safetensors to `out`."""
    torch.manual_seed(seed)
    pictures, labels, classes = read(data / "train.npz")
    held_out, held_out_labels, _ = read(data / "val.npz")
    model = SmallResNet(len(classes)).to(memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=LR,
        momentum=0.9,
        nesterov=True,
    )
    sizes = [size for size, epochs in PHASES for _ in range(epochs)]
    steps = len(pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=steps * len(sizes), pct_start=0.15, cycle_momentum=False
    )
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    checkpoint, first = out.with_suffix(".checkpoint"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epoch"] + 1
        torch.set_rng_state(state["rng"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    small: dict[int, Tensor] = {128: pictures}
    for epoch in range(first, len(sizes)):
        size, started = sizes[epoch], time.monotonic()
        if size not in small:
            small = {128: pictures, size: torch.cat([shrunk(part, size * 17 // 16) for part in pictures.split(500)])}
        model.train()
        total = 0.0
        order = torch.randperm(len(pictures))
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            images, wanted = augmented(small[size][chosen], size), labels[chosen]
            other, kept = wanted, 1.0
            if float(torch.rand(())) < CUTMIX_CHANCE:
                images, other, kept = cutmix(images, wanted)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images.contiguous(memory_format=torch.channels_last)).float()
                loss = kept * F.cross_entropy(logits, wanted, label_smoothing=0.1)
                loss = loss + (1 - kept) * F.cross_entropy(logits, other, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        now = accuracy(average, held_out, held_out_labels, 128)
        print(
            json.dumps(
                {
                    "epoch": epoch,
                    "size": size,
                    "loss": round(total / steps, 4),
                    "val": round(now, 4),
                    "s": round(time.monotonic() - started),
                }
            ),
            flush=True,
        )
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**state, "epoch": epoch, "rng": torch.get_rng_state()}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    kept_weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in average.module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(kept_weights, out)
    for size in (128, 160):
        print(f"val accuracy at {size} px: {accuracy(average, held_out, held_out_labels, size):.4f}")


def shrunk(pictures: Tensor, size: int) -> Tensor:
    """uint8 pictures resized to `size` px with antialiasing."""
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.data, options.out, options.seed)
