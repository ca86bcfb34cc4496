"""What judging costs: python benchmarks/evaluation.py --data SHARED_DATA_FOLDER [--rounds 3] [--count 400].

Grad-CAM judged by pointing on pictures with boxes, in multiples of what can't be avoided: reading the
same pictures, making images of them, and plain forward passes in the same batches. The floor reads
while nothing else happens, as a plain loop does; the evaluation reads the next batch ahead.
"""

import argparse
from pathlib import Path

import torch
from measuring import FLOOR, in_floors, timed

import sightline
from sightline.datasets import open_data
from sightline.datasets.subset import subset
from sightline.trials import DataSet

BATCH = 16
MODELS = ("squeezenet1_1", "resnet18", "resnet50")


def plain(model: sightline.Model, data: DataSet) -> None:
    """Read, preprocess, answer."""
    with torch.inference_mode():
        for start in range(0, len(data), BATCH):
            samples = [data[place] for place in range(start, min(start + BATCH, len(data)))]
            model.module(torch.stack([model.preprocess(sample.picture) for sample in samples]))


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=400)
    options = parser.parse_args()
    data = open_data(options.data / "imagenet_val_boxes")
    data = subset(data, min(options.count, len(data)))
    labels = options.data / "weights/imagenet_classes.json"
    print(f"{len(data)} pictures, batches of {BATCH}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    for name in MODELS:
        model = sightline.load(name, weights="random", labels=labels, device="cpu")

        def judged(model: sightline.Model = model, *, controls: bool = False) -> None:
            sightline.evaluate(model, data, ["grad-cam"], ["pointing"], controls=controls, batch_size=BATCH)

        calls = {
            FLOOR: lambda model=model: plain(model, data),
            "judged": judged,
            "judged, with controls": lambda judged=judged: judged(controls=True),
        }
        ratios = in_floors(timed(calls, options.rounds))
        print(name, ", ".join(f"{what} {ratio:.3f}" for what, ratio in ratios.items() if what != FLOOR))


if __name__ == "__main__":
    main()
