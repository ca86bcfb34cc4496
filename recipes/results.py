"""Make docs/results.md: python recipes/results.py --data SHARED_DATA_FOLDER --work FOLDER [--only NAME ...].

Each section is one or more evaluations, kept in FOLDER picture by picture, so that a second run goes on
where the first stopped, and only prints what is there. Everything is computed by `sightline.evaluate`.
"""

import argparse
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import real_nets as nets
from scipy.stats import spearmanr

import sightline
from sightline.datasets import open_data
from sightline.datasets.subset import subset
from sightline.evaluation import Evaluation, Figure
from sightline.evaluation.report import number, with_spread
from sightline.trials import DataSet

PAGE = Path(__file__).parents[1] / "docs/results.md"
Column = tuple[str, str, str]  # heading, metric, further figure ("" for the metric's own)


def named(text: str) -> list[str]:
    """Names with spaces between."""
    return text.split()


@dataclass(frozen=True)
class Place:
    """Where pictures are read from, and evaluations kept."""

    data: Path
    work: Path

    def evaluated(
        self,
        name: str,
        model: sightline.Model,
        data: DataSet,
        methods: Sequence[str],
        metrics: Sequence[str],
        **how: Any,
    ) -> Evaluation:
        """An evaluation, kept under its name."""
        print(f"{name}: {model.name}, {len(data)} pictures", flush=True)
        found = sightline.evaluate(model, data, methods, metrics, folder=self.work / name, **how)
        (self.work / name / "evaluation.json").write_text(json.dumps(found.facts()), encoding="utf-8")
        return found

    def boxed(self, count: int = 400) -> DataSet:
        """ImageNet validation pictures with boxes, spread evenly."""
        return subset(open_data(self.data / "imagenet_val_boxes"), count)


def table(found: Evaluation, columns: Sequence[Column], rows: Sequence[str] = ()) -> list[str]:
    """A Markdown table: methods down, figures across, with the half of their 95 % intervals; controls in italics."""
    lines = ["| | " + " | ".join(heading for heading, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in found.rows:
        if rows and row.name not in rows:
            continue
        cells = [_cell(row.figures[metric], more) for _, metric, more in columns]
        name = f"*{row.name}*" if row.control else row.name
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _cell(figure: Figure, more: str) -> str:
    if more:
        return number(figure.more.get(more))
    return with_spread(figure)


def left_out(found: Evaluation) -> list[str]:
    """What wasn't judged, in a line, or nothing."""
    said = [*found.refused, *([f"{len(found.problems)} pictures"] if found.problems else [])]
    return ["", f"Left out: {'; '.join(said)}"] if said else []


def imagenet(place: Place) -> list[str]:
    """Table 1 of the Grad-CAM paper on 400 validation pictures of ten classes, stored squashed to 224 x 224.

    The maps are of the true classes. Errors are in per cent, as the paper has them: the box of 15 % of the
    maximum around the largest segment (by pixels), right at an IoU of 0.5. MaxBoxAcc and pointing are in
    per cent right. The paper's own figures are of VGG-16 on all 50,000 pictures of 1000 classes, top-1
    localization error 56.51 for Grad-CAM and 57.20 for CAM (as quoted by others): another protocol. Its
    backprop and c-MWP boxes come from GrabCut; here every map is cut at 15 %.
    """
    lines: list[str] = []
    metrics = ("localization", "pointing", "pointing:tolerance=0", "max-box-acc", "energy")
    columns = (
        ("loc. error top-1", "localization", ""), ("top-5", "localization", "top 5"),
        ("class given", "localization", "class given"), ("MaxBoxAcc", "max-box-acc", ""),
        ("pointing", "pointing:tolerance=0", ""), ("within 15 px", "pointing", ""), ("energy", "energy", ""),
    )  # fmt: skip
    for net in (nets.squeezenet1_0, nets.squeezenet1_1, nets.mobilenet_v2):
        model = net(place.data)
        methods = ("grad-cam", "cam", "layer-cam", "c-mwp", "saliency", "guided-grad-cam")
        found = place.evaluated(f"imagenet-{net.__name__}", model, place.boxed(), methods, metrics)
        first = found["grad-cam"].figures["localization"].more
        lines += [
            f"### {model.name}", "",
            f"Classification error: top-1 {first['of the class, top 1']:.1f}, "
            f"top-5 {first['of the class, top 5']:.1f}.", "",
            *table(found, columns), *left_out(found), "",
        ]  # fmt: skip
    return lines[:-1]


def coco(place: Place) -> list[str]:
    """Pointing by TorchRay's rule, and seeds, on the pictures of the COCO sample that hold a class of PASCAL VOC.

    The net is DeepLab on MobileNetV2, asked about the whole picture: a class's score is the log of the sum
    over positions of exp(logit), whose gradient is TorchRay's signal. Pictures, net and input size (513
    pixels) are not TorchRay's, so its published figures (Grad-CAM 54.2 and 57.3 per class, on COCO 2014)
    are of another protocol. Seeds are the maps of the classes that are there against a constant background
    of 0.15, in mIoU over the classes and the background.
    """
    metrics = ("pointing", "pointing:tolerance=0", "energy", "seed-miou")
    found = place.evaluated(
        "coco", nets.deeplab_voc(place.data), open_data(place.data / "coco_sample"),
        ("grad-cam", "layer-cam", "c-mwp", "saliency", "guided-backprop"), metrics,
    )  # fmt: skip
    columns = (
        ("pointing, 15 px", "pointing", ""), ("per class", "pointing", "per class"),
        ("small among others", "pointing", "per class, small among others"), ("0 px", "pointing:tolerance=0", ""),
        ("energy", "energy", ""), ("seed mIoU", "seed-miou", ""),
        ("at the best background", "seed-miou", "best background's"),
    )  # fmt: skip
    return [
        f"{found.pictures} pictures.", "", *table(found, columns), *left_out(found),
    ]  # fmt: skip


PAPER = {"guided-grad-cam": 0.261, "grad-cam": 0.254, "c-mwp": 0.220, "cam": 0.208, "guided-backprop": 0.168}


def faithfulness(place: Place) -> list[str]:
    """The mean Spearman correlation with the occlusion map of the same question, the Grad-CAM paper's faithfulness.

    The paper's figures are of VGG-16, fine-tuned on PASCAL VOC 2007, on 2510 pictures, with an occluder that
    it doesn't describe; ours of two small nets on 100 of the ImageNet pictures, true classes.
    """
    lines: list[str] = []
    for net in (nets.squeezenet1_1, nets.mobilenet_v2):
        found = place.evaluated(
            f"faithfulness-{net.__name__}", net(place.data), place.boxed(100), tuple(PAPER), ("occlusion-correlation",)
        )
        lines += ["", f"### {found.question['model']}", "", "| | ours | paper |", "|---|---|---|"]
        for row in found.rows:
            paper = f"{PAPER[row.name]:.3f}" if row.name in PAPER else ""
            name = f"*{row.name}*" if row.control else row.name
            lines.append(f"| {name} | {_cell(row.figures['occlusion-correlation'], '')} | {paper} |")
        lines += left_out(found)
    return lines


def confidence(place: Place) -> list[str]:
    """What the true class's probability does when what is marked is taken away, or is all that is left.

    SqueezeNet 1.1 on 10 of the ImageNet pictures. Pixels are taken by count, ties in an order that is drawn.
    Ten pictures are few: mind the intervals.
    """
    metrics = named("deletion insertion average-drop average-drop:mask=half increase average-gain road complexity")
    methods = named("grad-cam grad-cam++ layer-cam guided-grad-cam saliency c-mwp")
    found = place.evaluated(
        "confidence", nets.squeezenet1_1(place.data), place.boxed(10), methods, metrics, batch_size=1
    )
    return [*table(found, [(name, name, "") for name in metrics]), *left_out(found)]


def sanity(place: Place) -> list[str]:
    """Does a map change with the weights, the labels and the class?

    The embedded net of shapes, on 100 scenes of one to three shapes. The first four columns are rank
    correlations: the lower, the more a map depends on what it explains.
    """
    methods = named(
        "grad-cam layer-cam hires-cam saliency input-x-gradient guided-backprop guided-grad-cam deconvnet c-mwp "
        "excitation-backprop lrp-epsilon"
    )
    found = place.evaluated(
        "sanity", sightline.load("shapes", device="cpu"), open_data("scenes:shapes:count=100"), methods,
        ("parameter-randomisation", "label-randomisation", "contrast", "energy"),
        relabelled=sightline.load("shapes-random-labels", device="cpu"),
    )  # fmt: skip
    columns = (
        ("all weights drawn anew", "parameter-randomisation", ""),
        ("mean over stages", "parameter-randomisation", "mean over stages"),
        ("random labels", "label-randomisation", ""), ("strongest other class", "contrast", ""),
        ("evidence that moves", "contrast", "evidence that moves"), ("energy on the shape", "energy", ""),
    )  # fmt: skip
    return [*table(found, columns), *left_out(found)]


def scenes(place: Place) -> list[str]:
    """Where the truth is known: shapes, the grid pointing game, and DiFull.

    In DiFull a class's score can't depend on any cell but its own, so that energy outside is an error by
    construction: Grad-CAM's, whose weights are pooled over the picture, by its very definition.
    """
    methods = named(
        "grad-cam grad-cam++ layer-cam hires-cam c-mwp saliency guided-backprop integrated-gradients "
        "occlusion:window=12:stride=4"
    )
    shapes = sightline.load("shapes", device="cpu")
    lines: list[str] = []
    columns = (
        ("pointing", "pointing:tolerance=0", ""),
        ("energy", "energy", ""),
        ("relevance rank", "relevance-rank", ""),
    )
    for title, name, model, what in (
        ("Shapes: one to three in a picture", "shapes", shapes, "scenes:shapes:count=200"),
        ("Grid: 2 x 2 scenes, chance 25", "grid", shapes, "scenes:grid:count=100"),
        ("DiFull: heads that see one cell, random weights, chance 25", "difull", _difull(), "scenes:difull:count=50"),
    ):
        metrics = [metric for _, metric, _ in columns]
        found = place.evaluated(name, model, open_data(what), methods, metrics)
        lines += ["", f"### {title}", "", *table(found, columns), *left_out(found)]
    return lines[1:]


def _difull() -> sightline.Model:
    from sightline.datasets.difull import net

    return net()


PARTS = named(
    "completeness single-deletion preservation-check deletion-check controlled-synthetic distractibility "
    "background-independence target-sensitivity"
)


def creatures(place: Place) -> list[str]:
    """FunnyBirds' interventions on 100 unseen creatures made of removable parts, by the embedded net of creatures.

    1 is best. Thresholds are chosen on these same pictures, as FunnyBirds does.
    """
    methods = named(
        "grad-cam layer-cam guided-backprop integrated-gradients input-x-gradient occlusion:window=12:stride=4 c-mwp"
    )
    found = place.evaluated(
        "creatures", sightline.load("creatures", device="cpu"), open_data("scenes:creatures:count=100"), methods, PARTS
    )
    return [*table(found, [(name, name, "") for name in PARTS]), *left_out(found)]


SHORTCUTS = [(rho, seed) for rho in ("0", "0.5", "0.9", "1") for seed in (0, 1, 2)]


def shortcut(place: Place) -> list[str]:
    """The nurse/doctor case with a known answer: does the map show that a net looks at the marker?

    Twelve nets were trained on pictures in which a corner marker agrees with the label at strength rho. How
    far a net relies on it is the accuracy that it loses where the marker, instead of always going with the
    label, never does; what the explanation says of it is the share of Grad-CAM's evidence on the marker,
    in per cent. All nets see the same 200 scenes.
    """
    lines = ["| rho | seed | marker as trained | marker swapped | drop | energy on the marker |", "|---" * 6 + "|"]
    rows = []
    for rho, seed in SHORTCUTS:
        model = sightline.load(f"shortcut-{rho}-{seed}", device="cpu")
        trained, swapped = (
            place.evaluated(
                f"shortcut-{rho}-{seed}-{marker}", model,
                open_data(f"scenes:shortcut:count=200:rho=1:marker={marker}:truth=marker"),
                ("grad-cam",), ("energy", "localization"), controls=False,
            )
            for marker in ("as-trained", "swapped")
        )  # fmt: skip
        right = [
            1 - each["grad-cam"].figures["localization"].more["of the class, top 1"] / 100
            for each in (trained, swapped)
        ]
        energy = trained["grad-cam"].figures["energy"].value or 0.0
        rows.append((float(rho), right[0] - right[1], energy))
        lines.append(f"| {rho} | {seed} | {right[0]:.3f} | {right[1]:.3f} | {right[0] - right[1]:.3f} | {energy:.1f} |")
    rhos, drops, energies = np.array(rows).T
    return [
        *lines, "",
        f"Spearman of energy and drop {spearmanr(energies, drops).statistic:.2f}, "
        f"of energy and rho {spearmanr(energies, rhos).statistic:.2f}.",
    ]  # fmt: skip


def adversarial(place: Place) -> list[str]:
    """The paper's test: a net is fooled into a class that isn't there; do maps of what is there still point at it?

    100 of the ImageNet pictures, fooled into `airliner` by at most 8 of 255 levels a value.
    """
    lines = ["| net | fooled above 0.999 | pointing before | after | energy before | after |", "|---" * 6 + "|"]
    for net in (nets.squeezenet1_1, nets.mobilenet_v2):
        model = net(place.data)
        before, after = (
            place.evaluated(
                f"adversarial-{net.__name__}-{how or 'plain'}", model, place.boxed(100), ("grad-cam",),
                ("pointing:tolerance=0", "energy"), controls=False, attack=how,
            )
            for how in (None, "airliner")
        )  # fmt: skip
        cells = [
            _cell(each["grad-cam"].figures[metric], "")
            for metric in ("pointing:tolerance=0", "energy")
            for each in (before, after)
        ]
        lines.append(f"| {model.name} | {after.fooled} of {after.pictures} | " + " | ".join(cells) + " |")
    return lines


SECTIONS: dict[str, tuple[str, Callable[[Place], list[str]]]] = {
    "imagenet": ("Localization and pointing on ImageNet pictures", imagenet),
    "coco": ("Pointing and seeds on COCO pictures", coco),
    "faithfulness": ("Rank correlation with occlusion", faithfulness),
    "confidence": ("Confidence without and with what is marked", confidence),
    "sanity": ("Sanity checks", sanity),
    "scenes": ("Scenes with known truth", scenes),
    "creatures": ("Creatures made of parts", creatures),
    "shortcut": ("The shortcut world", shortcut),
    "adversarial": ("Fooled nets", adversarial),
}

HEAD = """# Results

Made by `python recipes/results.py --data SHARED_DATA_FOLDER --work FOLDER`. After ± stands half of the interval
that holds 95 % of 1000 draws of the pictures. Rows in italics are controls, which explain nothing: a map that
doesn't beat them says nothing that they don't. Trials that a metric can't judge, such as empty maps, are left out
of its figure and counted in FOLDER.
"""


def _section(title: str, made: Callable[[Place], list[str]], place: Place) -> str:
    """A heading, what the section's docstring says, and its tables."""
    return "\n".join(["", f"## {title}", "", inspect.getdoc(made) or "", "", *made(place), ""])


def main() -> None:
    """Write the page, or print the sections named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=tuple(SECTIONS))
    options = parser.parse_args()
    place = Place(options.data, options.work)
    parts = [_section(*SECTIONS[name], place) for name in options.only or SECTIONS]
    if options.only:
        print("".join(parts))
    else:
        PAGE.write_text(HEAD + "".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
