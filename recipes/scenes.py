"""Train the embedded nets of generated scenes, and measure them: python recipes/scenes.py FILE ... [--report].

FILE is `shapes`, `shapes-random-labels` or `shortcut`, which holds twelve nets: four correlations of the
marker with the label, three seeds each. What a net is made of stands in its card, src/sightline/bundled/FILE.json;
its weights are written beside it. With `--report` nothing is trained: the embedded nets are measured, and the
figures printed and put into the card.

Everything is drawn from seeds, nothing is downloaded. AdamW on a one-cycle schedule, pictures turned and
mirrored, bf16 autocast, one thread: eight minutes for shapes, a minute for any other net. A run that is stopped goes
on from FOLDER/NAME.checkpoint.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save, save_file
from scene_figures import of_random_labels, of_shapes, of_shortcut
from scene_pictures import all_shapes, marked_scenes, shuffled_shapes
from torch import Tensor, nn

import sightline
from sightline.sources import bundled

PACKAGE = Path(__file__).parents[1] / "src/sightline/bundled"
FILES = "shapes", "shapes-random-labels", "shortcut"


@dataclass(frozen=True)
class Plan:
    """How a net is trained; `shown` gives its pictures and their targets, which are `turned` or not."""

    shown: Callable[[], tuple[Tensor, Tensor]]
    epochs: int
    rate: float
    batch: int
    turned: bool = True
    seed: int = 0


PLANS = {
    "shapes": Plan(all_shapes, epochs=16, rate=4e-3, batch=64),
    "shapes-random-labels": Plan(shuffled_shapes, epochs=200, rate=2e-3, batch=50, turned=False),
    **{
        f"shortcut-{rho}-{seed}": Plan(partial(marked_scenes, float(rho), seed), 12, rate=3e-3, batch=50, seed=seed)
        for rho in ("0", "0.5", "0.9", "1")
        for seed in (0, 1, 2)
    },
}


def nets(file: str) -> list[str]:
    """The nets in a file."""
    return [name for name, its in bundled.FILES.items() if its == file]


def normalised(pictures: Tensor) -> Tensor:
    """uint8 pictures -> float images, channels last."""
    return ((pictures.float() / 255 - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def turned(pictures: Tensor) -> Tensor:
    """All pictures in one of the eight ways to lay a square, which one by chance."""
    upside, mirrored, across = torch.rand(3) < 0.5
    pictures = pictures.flip(2) if upside else pictures
    pictures = pictures.flip(3) if mirrored else pictures
    return pictures.transpose(2, 3) if across else pictures


def train(name: str, checkpoint: Path) -> nn.Module:
    """Train a net, keeping all that is needed to go on after each epoch."""
    plan = PLANS[name]
    torch.manual_seed(plan.seed)
    model = bundled.load(name, "random").module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures, targets = plan.shown()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=1e-2)
    steps = len(pictures) // plan.batch * plan.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=steps)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epoch"] + 1
        torch.set_rng_state(state["rng"])
        for part, inner in parts.items():
            inner.load_state_dict(state[part])
    for epoch in range(first, plan.epochs):
        started = time.monotonic()
        loss = run_epoch(plan, model, optimizer, schedule, pictures, targets)
        line = {"net": name, "epoch": epoch, "loss": round(loss, 4), "s": round(time.monotonic() - started)}
        print(json.dumps(line), flush=True)
        kept = {part: inner.state_dict() for part, inner in parts.items()}
        torch.save(kept | {"epoch": epoch, "rng": torch.get_rng_state()}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    return model


def run_epoch(
    plan: Plan,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Tensor,
    targets: Tensor,
) -> float:
    """One pass over the pictures in random order; the mean loss. Targets of 0 and 1 mean independent classes."""
    model.train()
    losses = []
    for chosen in torch.randperm(len(pictures))[: len(pictures) // plan.batch * plan.batch].split(plan.batch):
        images = normalised(turned(pictures[chosen]) if plan.turned else pictures[chosen])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images).float()
        wanted = targets[chosen]
        several = wanted.ndim == 2
        loss = F.binary_cross_entropy_with_logits(logits, wanted) if several else F.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def trained(name: str, folder: Path) -> dict[str, Tensor]:
    """The weights of a net in half precision, trained unless the folder has them."""
    out = folder / f"{name}.safetensors"
    if not out.exists():
        state = train(name, folder / f"{name}.checkpoint").state_dict()
        save_file({key: value.half().contiguous() for key, value in state.items() if value.is_floating_point()}, out)
    return load_file(out)


def embed(file: str, folder: Path) -> None:
    """Train a file's nets, and write it into the package; where it holds several, their names stand before the keys."""
    found = {name: trained(name, folder) for name in nets(file)}
    weights = {
        key if name == file else f"{name}/{key}": value for name, state in found.items() for key, value in state.items()
    }
    (PACKAGE / f"{file}.safetensors").write_bytes(save(weights))


def report(file: str) -> None:
    """Measure the embedded nets of a file, print the figures and put them into its card."""
    measure = {"shapes": of_shapes, "shapes-random-labels": of_random_labels, "shortcut": of_shortcut}[file]
    models = {name: sightline.load(name, device="cpu") for name in nets(file)}
    hashes = {name: model.weights_hash for name, model in models.items()}
    found = {
        "figures": {"command": f"python recipes/scenes.py {file} --report", **measure()},
        "weights_hash": hashes.get(file, hashes),
        "parameters": sum(p.numel() for p in next(iter(models.values())).module.parameters()),
    }
    print(json.dumps(found, indent=2))
    card = bundled.card(nets(file)[0]) | found
    (PACKAGE / f"{file}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train, or report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", choices=FILES)
    parser.add_argument("--folder", type=Path, default=Path("build/scenes"), help="for checkpoints and trained nets")
    parser.add_argument("--report", action="store_true", help="measure the embedded nets instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for file in options.files:
        if options.report:
            report(file)
        else:
            embed(file, options.folder)


if __name__ == "__main__":
    main()
