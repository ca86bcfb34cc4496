"""sightline explain: maps for pictures, folders and patterns, written as overlays and raw arrays."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options
from sightline.cli.media import are_volumes, explain_media, is_media
from sightline.cli.progress import watching
from sightline.errors import ModelError, PictureError, TargetError

if TYPE_CHECKING:
    from sightline.explanation import Explanation
    from sightline.model import Model

BATCH = 16


def command(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders or patterns; videos; volumes (NIfTI). None: a sample picture."),
    ] = None,
    model: options.ModelName = None,
    target: options.Targets = None,
    question: options.Question = None,
    text: options.Sentence = None,
    method: Annotated[
        str, typer.Option(help="A name from `sightline methods`, with options where wanted: rise:masks=4000.")
    ] = "grad-cam",
    layer: Annotated[str | None, typer.Option(help="A dotted name; by default one is chosen, and said.")] = None,
    out: options.Out = Path("sightline-out"),
    boxed: Annotated[
        bool, typer.Option("--box", help="Draw the box of 15 % of the maximum, largest component.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Overlays in the picture's own size, without a caption.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say of each map whether to believe it, by cheap checks in the model.")
    ] = False,
    contact: Annotated[bool, typer.Option("--sheet", help="Also one contact sheet of everything, sheet.png.")] = False,
    scale: Annotated[
        str, typer.Option(help="What a volume's values become: `as is`, `unit` (0 to 1) or `z-score`.")
    ] = "as is",
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
    """Explain why a model said what it says of pictures: overlay, raw map, peak and box."""
    from sightline.images import pictures_in
    from sightline.methods import method as method_of

    method_of(method)
    console = Console(stderr=as_json)
    failed: list[str] = []
    paths: list[Path] = []
    films = [Path(given) for given in pictures or [] if is_media(given)]
    for given in pictures or [str(sample())]:
        try:
            paths += [] if is_media(given) else pictures_in(given)
        except PictureError as error:
            failed.append(str(error))
    any_read = paths or films
    loaded = options.load_model(model, weights, labels, size, fit, mean, std, device, dtype) if any_read else None
    if loaded is not None and not paths and are_volumes(films) and loaded.source == "import path":
        loaded = replace(loaded, note="")  # it says how pictures would be prepared
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    small: list[Explanation] = []
    if loaded is not None:
        how = How(target, layer, method, seed, question, text)
        for why in explanations_of(loaded, paths, how, failed, console):
            rows += _written(why, out, boxed, plain, taken, check)
            small += [_thumbnail(one) for one in why] if contact else []
        unused_here = {"--box": boxed, "--plain": plain, "--check": check, "--sheet": contact, "--size": size}
        if films and any(unused_here.values()):
            aside = ", ".join(name for name, value in unused_here.items() if value)
            console.print(f"[yellow]note:[/] of videos and volumes {aside} is left aside", highlight=False)
        for film in films:
            try:
                rows += explain_media(loaded, film, how, scale, out, console, taken)
            except PictureError as error:
                failed.append(str(error))
    if small:
        _contact_sheet(small, out / "sheet.png", boxed)
        rows[-1]["files"].append(str(out / "sheet.png"))
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows and loaded is not None:
        _show(console, rows, loaded, not pictures)
    if failed:
        report(failed)
        raise typer.Exit(1)


def sample() -> Path:
    """The sample picture: scikit-learn's `china.jpg`, a photograph under CC BY 2.0. Raises PictureError without it."""
    found = find_spec("sklearn")
    folder = Path(found.origin).parent if found and found.origin else Path()
    file = folder / "datasets" / "images" / "china.jpg"
    if not file.is_file():
        raise PictureError("scikit-learn's sample picture china.jpg isn't installed; name a picture of your own")
    return file


@dataclass(frozen=True)
class How:
    """What is asked of each picture, and how it is answered."""

    target: list[str] | None
    layer: str | None
    method: str
    seed: int
    question: str | None = None
    text: str | None = None


def explanations_of(
    model: "Model", paths: list[Path], how: How, failed: list[str], console: Console
) -> Iterator["Explanation"]:
    """Explanations of what can be read; what can't is added to `failed`, as is a picture without what is asked about.

    Raises TargetError where there is no other picture.
    """
    from sightline.explainer import explained
    from sightline.images import read_picture
    from sightline.posing import is_posed

    one_by_one = is_posed(model, how.target)
    batch = 1 if one_by_one else BATCH
    starts = range(0, len(paths), batch)
    with watching(console) as (bars, watch):
        if len(starts) > 1:
            bars.start()
        for start in bars.track(starts, description="explaining"):
            read: list[tuple[Path, Any]] = []
            for path in paths[start : start + batch]:
                try:
                    picture = read_picture(path)
                    model.preprocess.framing(picture.size)
                    read.append((path, picture))
                except PictureError as error:
                    failed.append(str(error))
            if read:
                target = how.target
                asked: Any = None if not target else target[0] if len(target) == 1 else [target] * len(read)
                pictures = [picture for _, picture in read]
                try:
                    found = explained(
                        model, pictures, asked, question=how.question, text=how.text, layers=how.layer,
                        methods=[how.method], seed=how.seed, progress=watch,
                    )  # fmt: skip
                except (TargetError, PictureError) as error:  # as of a mask of another size
                    if not one_by_one or len(paths) == 1:
                        raise
                    failed.append(f"{read[0][0]}: {error}")
                    continue
                for (path, _), (why,) in zip(read, found, strict=True):
                    yield replace(why, path=str(path))


def _written(
    why: "Explanation", out: Path, boxed: bool, plain: bool, taken: set[str], check: bool
) -> list[dict[str, Any]]:
    """Write one explanation's files; a row of facts for each target."""
    import numpy as np

    from sightline.explainer import AS_ASKED

    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = []
        for one in why:
            named = f"-{slug(one.layer)}" if one.layer_why == AS_ASKED else ""
            asked = f"-{slug(why.question)}" if why.question else ""
            stem = f"{Path(why.path or 'picture').stem}{asked}-{slug(one.name)}-{slug(one.method)}{named}"
            base = out / unused(stem, taken)
            picture = one.overlay(boxed=boxed) if plain else one.figure(boxed=boxed)
            files = [base.with_name(base.name + ".png"), base.with_name(base.name + ".npy")]
            picture.save(files[0], compress_level=1)
            np.save(files[1], one.maps[0].numpy())
            checked = {"check": _checked(one)} if check else {}
            rows.append(one.facts() | checked | {"files": [str(file) for file in files]})
        if len(why) > 1 and not plain:
            whole = out / (unused(f"{Path(why.path or 'picture').stem}-sheet-{slug(why.method)}", taken) + ".png")
            why.figure(boxed=boxed).save(whole, compress_level=1)
            for row in rows:
                row["files"].append(str(whole))
    except OSError as error:
        raise ModelError(f"{out} can't be written to ({error}); choose another folder with --out") from error
    return rows


def _checked(why: "Explanation") -> dict[str, Any]:
    """The verdict on one map, and what it rests on."""
    verdict = why.check()
    found = [{"name": check.name, "passed": check.passed, "said": check.said} for check in verdict.checks]
    return {"believed": verdict.believed, "words": verdict.words, "checks": found}


def _thumbnail(why: "Explanation") -> "Explanation":
    """The same explanation over a small picture, so that a sheet of thousands fits in memory."""
    picture = why.picture.copy()
    picture.thumbnail((480, 480))
    across, down = picture.width / why.picture.width, picture.height / why.picture.height
    x0, y0, x1, y1 = why.framing.seen
    framing = replace(why.framing, picture=picture.size, seen=(x0 * across, y0 * down, x1 * across, y1 * down))
    return replace(why, picture=picture, framing=framing)


def _contact_sheet(whys: list["Explanation"], file: Path, boxed: bool) -> None:
    from sightline.render import EVIDENCE, SIGNED, Tile, sheet

    tiles = [Tile(why.overlay(boxed=boxed), why.title, Path(why.path or "").name) for why in whys]
    sheet(tiles, title=whys[0].how, bar=SIGNED if whys[0].signed else EVIDENCE).save(file, compress_level=1)


def slug(text: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w+.-]+", "_", text).strip("_.")[:60] or "target"


def unused(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken already."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    taken.add(free)
    return free


def _show(console: Console, rows: list[dict[str, Any]], model: "Model", is_sample: bool) -> None:
    from sightline.explanation import short
    from sightline.origin import NO_LAYER

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("picture", "target", "probability", "score", "peak"):
        table.add_column(name, justify="right" if name in ("probability", "score") else "left", overflow="fold")
    for row in rows:
        share = "-" if row["probability"] is None else f"{row['probability']:.3f}"
        peak = "nothing lit" if row["peak"] is None else ", ".join(map(str, row["peak"]))
        peak += f", frame {row['peak_frame']}" if row.get("peak_frame") is not None else ""
        name = Path(row["picture"]).name
        table.add_row(escape(name), escape(row["target"]["name"]), share, short(row["score"]), peak)
    for picture, said in {row["picture"]: _said(row) for row in rows if row.get("said")}.items():
        console.print(f"{escape(Path(picture).name)}  {escape(said)}", highlight=False, soft_wrap=True)
    console.print(table)
    for row in rows:
        if "check" in row:
            name, style = f"{Path(row['picture']).name}, {row['target']['name']}", "green"
            if not row["check"]["believed"]:
                style = "yellow"
            console.print(
                f"[{style}]{escape(name)}:[/] {escape(row['check']['words'])}", highlight=False, soft_wrap=True
            )
    files = list(dict.fromkeys(file for row in rows for file in row["files"]))
    shown = files[:4] + ([f"... and {len(files) - 4} more"] if len(files) > 4 else [])
    console.print("wrote " + escape("\n      ".join(shown)), highlight=False, soft_wrap=True)
    first = rows[0]
    where, why = f" at layer {first['layer']}", f"{first['layer_why']}; "
    if first["layer"] == NO_LAYER:
        where = why = ""
    told = f"{first['method']}{where} of {model.name} ({model.source}): {why}{first['passes']}"
    console.print(f"[dim]{escape(told)}[/]", highlight=False)
    if is_sample:
        console.print(
            "[dim]The sample is scikit-learn's china.jpg (CC BY 2.0); name pictures of your own to explain them.[/]"
        )
    if model.note:
        console.print(f"[yellow]note:[/] {escape(model.note)}", highlight=False)


def _said(row: dict[str, Any]) -> str:
    """What was asked in words, and what the model says of the picture."""
    return f"{row['question'].rstrip('? ')}? {row['said']}" if row["question"] else str(row["said"])


def report(failed: list[str]) -> None:
    """Say on stderr which pictures could not be explained, and why."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]error:[/] {len(failed)} could not be explained:", highlight=False)
    for line in failed:
        console.print(f"  {escape(line)}", highlight=False)
