"""Make docs/questions.md and docs/words.png: python recipes/questions.py --data SHARED_DATA_FOLDER --work FOLDER.

How well maps of questions that aren't about classes fall on what they are about: regions of a segmentation on
real pictures; words, answers and boxes on generated scenes, as the embedded nets' cards have them.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import real_nets
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import sightline
from sightline.datasets import open_data
from sightline.posing import ANYWHERE, KINDS
from sightline.render import Tile, sheet
from sightline.sources import bundled
from sightline.targets import contrast, region

PAGE = Path(__file__).parents[1] / "docs/questions.md"
ASKED = {  # a method, its layer, and whether the background's score there is taken away
    "grad-cam": ("grad-cam", "project", False),
    "grad-cam, and not background": ("grad-cam", "project", True),
    "grad-cam at `aspp`, one layer before": ("grad-cam", "aspp", False),
    "hires-cam": ("hires-cam", "project", False),
    "layer-cam": ("layer-cam", "project", False),
}
SMALLEST = 0.005  # of the picture, of a piece that is asked about
LABELS = len(real_nets.VOC) + 1
Mask = NDArray[np.bool_]


def pieces(mask: Mask) -> list[Mask]:
    """The mask's connected pieces that aren't tiny, largest first."""
    numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
    found = [numbered == number for number in range(1, count + 1)]
    return sorted((each for each in found if each.mean() >= SMALLEST), key=lambda each: -each.sum())


def share(heat: NDArray[np.floating[Any]], mask: Mask) -> float | None:
    """The share of a map's positive energy inside a mask; None for a map without any."""
    positive = np.maximum(np.nan_to_num(heat), 0)
    return float(positive[mask].sum() / positive.sum()) if positive.sum() > 0 else None


def regions(data: Path, work: Path) -> list[dict[str, Any]]:
    """For each annotated class in each COCO picture, the largest piece of its mask as a region; kept line by line."""
    model = real_nets.deeplab_regions(data)
    pictures = open_data(data / "coco_sample")
    kept = work / "regions.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["picture"] for row in rows}
    with kept.open("a", encoding="utf-8") as file:
        for place, name in enumerate(pictures.names):
            if name in done:
                continue
            found = [{"picture": name}, *_of_picture(model, pictures[place])]
            file.writelines(json.dumps(row | {"picture": name}) + "\n" for row in found)
            file.flush()
            rows += [row | {"picture": name} for row in found]
            print(name, len(found) - 1, flush=True)
    return [row for row in rows if "label" in row]


def _of_picture(model: sightline.Model, sample: Any) -> list[dict[str, Any]]:
    framing, found = model.preprocess.framing(sample.picture.size), []
    for truth in sample.truths:
        index = _index(model, truth.label)
        if index is None or truth.mask is None:
            continue
        each = pieces(truth.mask)
        if not each:
            continue
        mask = framing.to_image(torch.from_numpy(each[0]))
        row: dict[str, Any] = {
            "label": truth.label,
            "area": float(each[0].mean()),
            "class area": float(truth.mask.mean()),
        }
        rest = truth.mask & ~each[0]
        for name, (method, layer, less) in ASKED.items():
            target = contrast(region(mask, index), region(mask, 0)) if less else region(mask, index)
            why = sightline.explain(model, sample.picture, target, layer=layer, method=method)
            across, down = why.peak() or (0, 0)
            energy = [share(why.heat, each[0]), share(why.heat, rest) if len(each) > 1 else None]
            row[name] = [*energy, float(each[0][down, across]), float(truth.mask[down, across])]
        found.append(row)
    return found


def _index(model: sightline.Model, label: str) -> int | None:
    try:
        return model.labels.index(label, whole=True)
    except sightline.errors.TargetError:
        return None


def mean(values: Sequence[float | None]) -> str:
    """The mean of what is there, in per cent, with the half of its 95 % interval."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return "-"
    return f"{100 * known.mean():.1f} ±{196 * known.std() / len(known) ** 0.5:.1f}"


def about_regions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The section on segmentation."""
    several = [row for row in rows if row["grad-cam"][1] is not None]
    lines = [
        "## A region of a segmentation",
        "",
        f"DeepLab v3+ on MobileNetV2 (VOC's classes), {len({row['picture'] for row in rows})} COCO pictures, "
        f"{len(rows)} classes in them: the largest connected piece of each class's annotated mask is the region, the "
        "target is the class's mean logit there, the layer `project`, the one that is chosen. Per cent of the map's "
        "positive energy in the region, and of maps whose peak lies in it, or anywhere in the class's mask. In "
        f"{len(several)} the class has other pieces of {SMALLEST:.1%} of the picture or more.",
        "",
        "| | energy | peak | peak in the class | with other pieces: energy | in the others |",
        "|---|---|---|---|---|---|",
    ]
    for name in ASKED:
        columns = [[row[name][k] for row in rows] for k in (0, 2, 3)]
        columns += [[row[name][k] for row in several] for k in (0, 1)]
        lines.append(f"| {name} | " + " | ".join(map(mean, columns)) + " |")
    flat = [[row["area"] for row in rows], [row["area"] for row in rows], [row["class area"] for row in rows]]
    flat += [[row["area"] for row in several], [row["class area"] - row["area"] for row in several]]
    lines += [
        f"| *uniform* | {' | '.join(map(mean, flat))} |",
        "",
        "Grad-CAM averages the gradient over space, so it says which features speak for the class in the region, and "
        "lights them wherever they are, the class's other pieces included; HiResCAM and LayerCAM say where. At "
        "`project` every class's logit has a part that is the same everywhere, which the background's takes away.",
        "",
    ]
    return lines


def what_is_asked() -> list[str]:
    """The table of targets."""
    rows = [("classes", form, says) for form, says in ANYWHERE]
    rows += [(", ".join(row.tasks), row.form, row.says) for row in KINDS]
    lines = ["| target | of models that give | what it asks |", "|---|---|---|"]
    return [*lines, *(f"| `{form}` | {tasks} | {says} |" for tasks, form, says in rows), ""]


def about_nets() -> list[str]:
    """The sections on the embedded nets of scenes, from their cards."""
    lines = []
    for name in ("captions", "questions", "objects"):
        if name in bundled.FILES:
            card = bundled.card(name)
            lines += [
                f"## {card['for'][0].upper()}{card['for'][1:]}: `--model {name}`",
                "",
                *_told(card["figures"]),
                "",
            ]
    return lines


def picture() -> None:
    """What the embedded captioner writes of a scene, word by word: docs/words.png."""
    scene = open_data("scenes:relations:count=4:objects=(2,3)")[3].picture.resize((384, 384), Image.Resampling.NEAREST)
    why = sightline.explain(sightline.load("captions", device="cpu"), scene)
    named = [place for place, asked in enumerate(why.asked) if place and asked.name.split()[0] not in ("a", "of")]
    tiles = [Tile(why[place].overlay(), why[place].title) for place in named]
    sheet(tiles, columns=len(tiles), tile_width=220, title=why.said, note=why.how).save(PAGE.with_name("words.png"))


def _told(figures: dict[str, Any]) -> list[str]:
    """A card's figures: numbers as a list, rows of the same numbers as a table."""
    found = []
    for key, value in figures.items():
        if not isinstance(value, dict):
            found.append(f"- {key}: {f'`{value}`' if key == 'command' else value}")
            continue
        rows = list(value.values())
        if all(isinstance(row, dict) for row in rows) and len({tuple(row) for row in rows}) == 1:
            found += ["", f"{key}:", "", f"| | {' | '.join(rows[0])} |", "|---" * (len(rows[0]) + 1) + "|"]
            found += [f"| {name} | {' | '.join(map(str, row.values()))} |" for name, row in value.items()]
        else:
            found += ["", f"{key}:", "", *_told(value)]
    return found


def main() -> None:
    """Measure what isn't kept in the folder yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real weights and pictures")
    parser.add_argument("--work", type=Path, default=Path("build/questions"), help="where measurements are kept")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Any question",
        "",
        "What can be asked of a picture with `--target` (`sightline targets`, or a list of them in Python), and how "
        "well the maps fall on what they are about. Made by `python recipes/questions.py --data ... --work ...`.",
        "",
        *what_is_asked(),
        "`not:TARGET` and `TARGET-vs:TARGET` go with all of them. Words need a model that writes (`--text` gives it a "
        "sentence of yours), answers one that is asked a `--question`.",
        "",
        *about_regions(regions(options.data, options.work)),
        *about_nets(),
    ]
    picture()
    page = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    PAGE.write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
