"""sightline localize: boxes, masks and segmentation seeds of pictures and folders, in the formats that others read."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options
from sightline.cli.explain import How, explanations_of, report, sample, slug, unused
from sightline.errors import DataError, ModelError, PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sightline.explanation import Explanation
    from sightline.exports import Found
    from sightline.model import Model
    from sightline.seeds import Index

LISTS = {"json": "localize.json", "coco": "coco.json"}
FORMATS = (*LISTS, "voc", "png")
MOST = 255  # a palette PNG's number of what is unknown


def command(
    pictures: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or patterns. None: a sample picture.")
    ] = None,
    model: options.ModelName = None,
    target: options.Targets = None,
    method: Annotated[
        str, typer.Option(help="A name from `sightline methods`, with options where wanted: rise:masks=4000.")
    ] = "grad-cam",
    layer: Annotated[str | None, typer.Option(help="A dotted name; by default one is chosen, and said.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="What is marked, as a share of the map's maximum.")
    ] = 0.15,
    largest: Annotated[
        str, typer.Option(help="The boxed component has the most pixels, the largest contour (OpenCV's) or rect.")
    ] = "pixels",
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Also one palette PNG a picture, each pixel of the target highest there.")
    ] = False,
    background: Annotated[
        float, typer.Option(min=0, max=1, help="The background's score in seeds, as a share of a map's maximum.")
    ] = 0.15,
    refine: Annotated[
        bool, typer.Option("--refine", help="Seeds that follow superpixels (needs scikit-image).")
    ] = False,
    formats: Annotated[
        str, typer.Option("--format", help="Any of json, coco, voc and png (of masks), separated by commas.")
    ] = "json",
    drawn: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Also each picture with its boxes.")] = True,
    out: options.Out = Path("sightline-out"),
    weights: options.Weights = None,
    labels: options.LabelsFile = None,
    size: options.Size = None,
    fit: options.FitHow = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Find where classes are: box and mask of each target, and seeds of all, in the pictures' own pixels."""
    from sightline.images import pictures_in
    from sightline.methods import method as method_of
    from sightline.methods.superpixels import needed
    from sightline.regions import LARGEST

    method_of(method)
    kinds = [kind.strip() for kind in formats.split(",")]
    for kind in kinds:
        _one_of(kind, FORMATS, "format")
    _one_of(largest, LARGEST, "convention of what is largest")
    if refine:
        needed("skimage.segmentation")
    console = Console(stderr=as_json)
    failed: list[str] = []
    paths: list[Path] = []
    for given in pictures or [str(sample())]:
        try:
            paths += pictures_in(given)
        except PictureError as error:
            failed.append(str(error))
    rows: list[dict[str, Any]] = []
    if paths:
        loaded = options.load_model(model, weights, labels, size, fit, mean, std, device, dtype)
        wanted = Wanted(threshold, largest, seeds or refine, background, refine, drawn)
        try:
            out.mkdir(parents=True, exist_ok=True)
            with writing(out, kinds, paths, wanted, loaded) as writer:
                for why in explanations_of(loaded, paths, How(target, layer, method, seed), failed, console):
                    try:
                        rows += writer.write(why)
                    except DataError as error:
                        failed.append(f"{why.path}: {error}")
        except OSError as error:
            raise ModelError(f"{out} can't be written to ({error}); choose another folder with --out") from error
        if rows and not as_json:
            _show(console, rows, writer.files, wanted, loaded)
    if as_json:
        print(json.dumps(rows, indent=2))
    if failed:
        report(failed)
        raise typer.Exit(1)


@dataclass(frozen=True)
class Wanted:
    """What is marked of a map, and what is written of it."""

    threshold: float
    largest: str
    seeds: bool
    background: float
    refine: bool
    drawn: bool


@dataclass
class Writer:
    """Writes each picture's files, and adds to the lists of them all; `files` are what is there in the end.

    `lists` has what adds to the lists that were asked for, `numbers` the classes' numbers from 1, in categories and
    in palette PNGs.
    """

    out: Path
    kinds: Sequence[str]
    image_ids: Mapping[str, int]
    wanted: Wanted
    numbers: dict[str, int]
    lists: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def write(self, why: "Explanation") -> list[dict[str, Any]]:
        """Write one picture's files; a row of facts for each target. Raises DataError for too many classes."""
        from sightline import exports

        path = Path(why.path or "picture")
        found = [self._found(one) for one in why]
        numbers = [self._number(one.label) for one in found]
        shared: list[str] = []
        seeds: dict[str, Any] = {}
        if self.wanted.drawn:
            shared.append(self._saved(_drawn(why, found), f"{path.stem}-boxes"))
        if self.wanted.seeds:
            shared.append(self._saved(exports.palette_png(self._seeds(why)), f"{path.stem}-seeds"))
            classes = dict(zip((one.label for one in found), numbers, strict=True))
            seeds["seeds"] = {"file": shared[-1], "classes": classes, "background": self.wanted.background,
                              "refined": self.wanted.refine}  # fmt: skip
        if "voc" in self.kinds:
            file = self._free(path.stem, ".xml")
            file.write_bytes(exports.voc(found, path.name, why.picture.size))
            shared.append(str(file))
        if "coco" in self.lists:
            image_id = self.image_ids[str(path)]
            size = {"width": why.picture.width, "height": why.picture.height}
            self.images.append({"id": image_id, "file_name": path.name} | size)
            for row in exports.coco(found, image_id, numbers):
                self.lists["coco"](row)
        rows = []
        for one, marked, number in zip(why, found, numbers, strict=True):
            own = []
            if "png" in self.kinds:
                mask = exports.palette_png(marked.mask * number)
                own.append(self._saved(mask, f"{path.stem}-{slug(one.name)}-mask"))
            rows.append(one.facts() | {
                "box": marked.box and list(marked.box),
                "marked": float(marked.mask.mean()),
                "threshold": self.wanted.threshold,
                "largest": self.wanted.largest,
            } | seeds | {"files": own + shared})  # fmt: skip
            if "json" in self.lists:
                mask_runs = {"size": list(marked.mask.shape), "counts": exports.runs(marked.mask)}
                self.lists["json"](rows[-1] | {"mask": mask_runs})
            self.files += own
        self.files += shared
        return rows

    def _found(self, why: "Explanation") -> "Found":
        from sightline import exports, regions

        mask, share = why.mask(self.wanted.threshold), why.probabilities[0]
        component = regions.largest_component(mask, self.wanted.largest)
        return exports.Found(why.name, why.scores[0] if share is None else share, mask, component)

    def _seeds(self, why: "Explanation") -> "Index":
        """The index map of all targets, in the classes' numbers."""
        import numpy as np

        from sightline.seeds import refined, seeds

        heats = {one.name: one.heat for one in why}
        background = self.wanted.background
        index = refined(heats, why.picture, background) if self.wanted.refine else seeds(heats, background)
        return np.array([0, *(self.numbers[name] for name in heats)])[index]

    def _number(self, label: str) -> int:
        number = self.numbers.setdefault(label, len(self.numbers) + 1)
        if number >= MOST and ("png" in self.kinds or self.wanted.seeds):
            raise DataError(f"a palette PNG has {MOST - 1} classes, and {label!r} is one more; ask about fewer")
        return number

    def _saved(self, image: "Image", stem: str) -> str:
        file = self._free(stem, ".png")
        image.save(file, compress_level=1)
        return str(file)

    def _free(self, stem: str, suffix: str) -> Path:
        return self.out / (unused(stem, self.taken) + suffix)


@contextmanager
def writing(out: Path, kinds: Sequence[str], paths: Sequence[Path], wanted: Wanted, model: "Model") -> Iterator[Writer]:
    """A writer, whose lists are ended when all is written."""
    from sightline.exports import listed

    labels = [model.labels[index] for index in range(len(model.labels))]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels), start=1)}
    writer = Writer(out, kinds, _image_ids(paths), wanted, numbers if len(numbers) < MOST else {})
    with ExitStack() as stack:
        for kind in LISTS.keys() & set(kinds):
            writer.lists[kind] = stack.enter_context(listed(out / LISTS[kind]))
        yield writer
    ended = [str(out / LISTS[kind]) for kind in LISTS if kind in kinds]
    if "coco" in kinds:
        categories = [{"id": number, "name": name} for name, number in writer.numbers.items()]
        ended.append(_json(out / "coco-images.json", {"images": writer.images, "categories": categories}))
    if "png" in kinds or wanted.seeds:
        ended.append(_json(out / "classes.json", list(writer.numbers)))
    writer.files[:0] = ended


def _json(file: Path, value: Any) -> str:
    file.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return str(file)


def _image_ids(paths: Sequence[Path]) -> dict[str, int]:
    """COCO's own numbers where all pictures are named by them, as 000000000139.jpg; else from 1."""
    stems = [path.stem for path in paths]
    numbered = all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems)
    ids = [int(stem) for stem in stems] if numbered else range(1, len(stems) + 1)
    return dict(zip(map(str, paths), ids, strict=True))


def _drawn(why: "Explanation", found: Sequence["Found"]) -> "Image":
    """The overlay with its box, or a sheet of them where several targets were asked."""
    from sightline.render import EVIDENCE, SIGNED, Tile, captioned, outlined, sheet

    bar = SIGNED if why.signed else EVIDENCE
    tiles = []
    for one, marked in zip(why, found, strict=True):
        shown = one.overlay()
        box = marked.box
        note = one.how if len(why) == 1 else _said(box)
        tiles.append(Tile(outlined(shown, box) if box else shown, one.title, note))
    return captioned(tiles[0], bar=bar) if len(tiles) == 1 else sheet(tiles, title=why.how, bar=bar)


def _said(box: Sequence[int] | None) -> str:
    return "nothing lit" if box is None else ", ".join(map(str, box))


def _one_of(name: str, names: Iterable[str], what: str) -> None:
    if name not in names:
        raise DataError(f"no {what} {name!r}; choose from {', '.join(names)}")


def _show(console: Console, rows: list[dict[str, Any]], files: list[str], wanted: Wanted, model: "Model") -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("picture", "target", "probability", "box x0, y0, x1, y1", "marked"):
        table.add_column(name, justify="right" if name in ("probability", "marked") else "left", overflow="fold")
    for row in rows:
        share = "-" if row["probability"] is None else f"{row['probability']:.3f}"
        name = Path(row["picture"]).name
        table.add_row(escape(name), escape(row["target"]["name"]), share, _said(row["box"]), f"{row['marked']:.0%}")
    console.print(table)
    shown = files[:4] + ([f"... and {len(files) - 4} more"] if len(files) > 4 else [])
    console.print("wrote " + escape("\n      ".join(shown)), highlight=False, soft_wrap=True)
    first = rows[0]
    told = f"{first['method']} of {model.name} ({model.source}), from {wanted.threshold:g} of each map's maximum on"
    console.print(f"[dim]{escape(told)}; the boxed component is the largest by {wanted.largest}[/]", highlight=False)
    if model.note:
        console.print(f"[yellow]note:[/] {escape(model.note)}", highlight=False)
