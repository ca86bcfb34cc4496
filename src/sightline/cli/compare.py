"""sightline compare: one picture, several methods or layers, on one sheet."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sightline.cli import options
from sightline.cli.explain import sample
from sightline.cli.media import is_media
from sightline.cli.progress import watching

if TYPE_CHECKING:
    from PIL.Image import Image

    from sightline.explanation import Explanation


IN_LINE = 8  # tiles in one row of the sheet
DEFAULT = "grad-cam,layer-cam,guided-grad-cam,integrated-gradients,c-mwp,occlusion"


def command(
    picture: Annotated[str | None, typer.Argument(help="A picture. None: a sample.")] = None,
    methods: Annotated[
        str, typer.Option(help="Names from `sightline methods`, separated by commas, or `all`.")
    ] = DEFAULT,
    layers: Annotated[
        str | None, typer.Option(help="Dotted names, separated by commas; by default one is chosen.")
    ] = None,
    target: options.Targets = None,
    question: options.Question = None,
    text: options.Sentence = None,
    out: options.Out = Path("sightline-out"),
    model: options.ModelName = None,
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
    """Draw several methods, layers and targets of one picture on one sheet, each with its cost."""
    from sightline.errors import PictureError, SightlineError
    from sightline.explainer import compare
    from sightline.methods import METHODS, method

    rows = METHODS if methods == "all" else tuple(method(name) for name in options.names(methods))
    source = picture or str(sample())
    if is_media(source):
        raise PictureError(f"compare takes pictures; {source} is a video or a volume, which explain takes")
    loaded = options.load_model(model, weights, labels, size, fit, mean, std, device, dtype)
    named: Any = None if layers is None else [name.strip() for name in layers.split(",")]
    asked: Any = None if not target else target[0] if len(target) == 1 else target
    refused: list[SightlineError] = []
    with watching(Console(stderr=True)) as (_, watch):
        whys = compare(
            loaded, source, asked, question=question, text=text, layers=named, methods=rows, seed=seed, progress=watch,
            refused=refused,
        )  # fmt: skip
    if not whys:
        raise refused[0]
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{Path(source).stem}-compare.png"
    _sheet(whys, loaded.name).save(file, compress_level=1)
    if as_json:
        print(json.dumps([one.facts() | {"files": [str(file)]} for why in whys for one in why], indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    drawn = ", ".join(dict.fromkeys(why.method for why in whys))
    console.print(f"wrote {escape(str(file))}: {len(whys) * len(whys[0])} maps by {drawn}")
    for error in refused:
        console.print(f"[yellow]left out:[/] {escape(str(error))}")
    if loaded.note:
        console.print(f"[yellow]note:[/] {escape(loaded.note)}")


def _sheet(whys: list["Explanation"], model: str) -> "Image":
    """Each method's targets side by side, or beneath each other where a row of methods fits in a line."""
    from sightline.origin import NO_LAYER
    from sightline.render import EVIDENCE, SIGNED, Tile, sheet

    several = len({why.layer for why in whys} - {NO_LAYER}) > 1
    targets = len(whys[0])
    lined = len(whys) <= IN_LINE and (targets > 1 or len(whys) <= IN_LINE // 2)
    pairs = (
        [(why, k) for k in range(targets) for why in whys] if lined else [(w, k) for w in whys for k in range(targets)]
    )
    tiles = []
    for why, k in pairs:
        one = why[k]
        sign = " (red for, blue against)" if one.signed else ""
        where = f", {one.layer}" if several else ""
        tiles.append(Tile(one.overlay(), one.method + sign, f"{one.title}{where}: {one.passes}"))
    columns = len(whys) if lined else max(targets, IN_LINE // targets * targets) if targets > 1 else None
    bar = SIGNED if all(why.signed for why in whys) else EVIDENCE
    return sheet(tiles, columns=columns, title=f"{model}: {', '.join(one.name for one in whys[0])}", bar=bar)
