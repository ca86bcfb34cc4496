"""Train the embedded net of creatures, and write its card: python recipes/creatures.py [--epochs N] [--out FOLDER].

Ten thousand creatures of the split `train`, half of them without some of their parts, which a net has to
have seen before taking parts away from it can tell anything (FunnyBirds, arXiv 2308.06248). The net stays at
stride 8 and sees 47 px at once, so that its last maps tell a beak from an eye. SGD on a one-cycle schedule,
bf16 autocast, one thread: four minutes. A run that is stopped goes on from FOLDER/creatures.checkpoint.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from sightline.bundled.net import SmallResNet
from sightline.datasets.creatures import CLASSES, PARTS, Creature, creatures
from sightline.model import wrap
from sightline.sources.weights import fill, read_weights

SIZE, WIDTHS, BLOCKS, STEM = 96, (32, 64), 1, 32
MEAN, STD = 0.5, 0.25
PICTURES, EPOCHS, BATCH, RATE, DECAY = 10_000, 15, 64, 0.1, 5e-4
TESTED, TEST_SEED = 1000, 1
FOLDER = Path(__file__).parents[1] / "src/sightline/bundled"
NAMES = tuple(CLASSES)


def drawn(count: int, split: str, seed: int, gone: Callable[[Creature], list[str]]) -> tuple[Tensor, Tensor]:
    """uint8 pictures (n, 3, SIZE, SIZE) without the parts that `gone` names, and their classes (n,)."""
    data = creatures(count, seed=seed, split=split, size=SIZE)
    scenes = [data.scene(place) for place in range(count)]
    pictures = np.stack([np.asarray(each.without(gone(each))) for each in scenes])
    labels = torch.tensor([NAMES.index(each.label) for each in scenes])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), labels


def normalised(pictures: Tensor) -> Tensor:
    """uint8 pictures -> float images, channels last."""
    return ((pictures.float() / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def accuracy(model: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """Share of pictures whose highest logit is their class's."""
    model.eval()
    with torch.inference_mode():
        best = torch.cat([model(normalised(part)).argmax(1) for part in pictures.split(100)])
    return round(float((best == labels).float().mean()), 4)


def train(epochs: int, checkpoint: Path) -> SmallResNet:
    """Train, keeping all that is needed to go on after each epoch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = SmallResNet(len(NAMES), WIDTHS, BLOCKS, STEM).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
    steps = PICTURES // BATCH * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, cycle_momentum=False)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epoch"] + 1
        torch.set_rng_state(state["rng"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    pictures, labels = drawn(PICTURES, "train", 0, lambda _: [])
    for epoch in range(first, epochs):
        started = time.monotonic()
        loss = run_epoch(model, optimizer, schedule, pictures, labels)
        print(json.dumps({"epoch": epoch, "loss": round(loss, 4), "s": round(time.monotonic() - started)}), flush=True)
        kept = {name: part.state_dict() for name, part in parts.items()}
        torch.save(kept | {"epoch": epoch, "rng": torch.get_rng_state()}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    return model


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Tensor,
    labels: Tensor,
) -> float:
    """One pass over the pictures in random order; the mean loss."""
    model.train()
    losses = []
    for chosen in torch.randperm(len(pictures))[: len(pictures) // BATCH * BATCH].split(BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(normalised(pictures[chosen])).float()
        loss = F.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def figures(model: nn.Module) -> dict[str, Any]:
    """Accuracy on creatures that no training saw: whole, without each part, without all, without the background."""
    cases: dict[str, Callable[[Creature], list[str]]] = {
        "whole": lambda _: [],
        **{f"without {part}": lambda _, part=part: [part] for part in PARTS},  # type: ignore[misc]
        "without any part": lambda _: list(PARTS),
        "without the things around": lambda scene: list(scene.background),
    }
    found = {name: accuracy(model, *drawn(TESTED, "test", TEST_SEED, gone)) for name, gone in cases.items()}
    return {
        "command": "python recipes/creatures.py",
        f"scenes:creatures:count={TESTED}:seed={TEST_SEED}": {
            "accuracy": found,
            "chance": round(1 / len(NAMES), 4),
        },
    }


def card(model: SmallResNet, epochs: int) -> dict[str, Any]:
    """What is known about the net."""
    return {
        "name": "creatures",
        "what": "A net for generated creatures, of whose parts it can be known what each is worth to it.",
        "for": "generated creatures of sixteen classes, made of parts that can be taken away",
        "pictures": "the generated creatures ",
        "architecture": f"SmallResNet (src/sightline/bundled/net.py): widths {', '.join(map(str, WIDTHS))}, "
        f"basic blocks of each: {BLOCKS}, stride 8, global average pooling, one linear layer",
        "classes": [{"index": index, "name": name, "parts": dict(CLASSES[name])} for index, name in enumerate(NAMES)],
        "preprocess": {"size": [SIZE, SIZE], "fit": "squash", "mean": [MEAN] * 3, "std": [STD] * 3},
        "widths": list(WIDTHS),
        "blocks": BLOCKS,
        "stem": STEM,
        "multi_label": False,
        "training": {
            "command": "python recipes/creatures.py",
            "how": f"From random weights: {epochs} epochs over {PICTURES} generated creatures, half of them without "
            "some of their parts.",
            "data": f"scenes:creatures:count={PICTURES}:split=train, generated, nothing downloaded",
        },
        "limits": "Sixteen generated creatures; it knows nothing else, and calls everything one of them.",
        "license": "MIT, as the package.",
        "figures": figures(model),
        "weights_hash": wrap(model).weights_hash,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main() -> None:
    """Train, and write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    checkpoint, weights = options.out / "creatures.checkpoint", options.out / "creatures.safetensors"
    trained = train(options.epochs, checkpoint).state_dict()
    save_file(
        {name: value.half().contiguous() for name, value in trained.items() if value.is_floating_point()}, weights
    )
    model = SmallResNet(len(NAMES), WIDTHS, BLOCKS, STEM)  # what is measured is what was written
    fill(model, read_weights(weights), given=weights.name)
    text = json.dumps(card(model, options.epochs), indent=2) + "\n"
    (options.out / "creatures.json").write_text(text, encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    print(text)


if __name__ == "__main__":
    main()
