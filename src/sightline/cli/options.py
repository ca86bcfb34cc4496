"""The options that several commands share, and the model that they describe."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.errors import ModelError

if TYPE_CHECKING:
    from sightline.model import Model
    from sightline.preprocess import Preprocess

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A name from `sightline models`, or package.module:factory. Default: the embedded net."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="A weights file (safetensors, or a torch checkpoint without code), a name, or `random`."),
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Class names: a name per line, or JSON.")]
Size = Annotated[str | None, typer.Option(help="Pixels that the model sees: 224, or HEIGHTxWIDTH.")]
FitHow = Annotated[str | None, typer.Option("--fit", help="How the picture gets to that size: crop, squash or pad.")]
Mean = Annotated[str | None, typer.Option(help="Channel means, as 0.5,0.5,0.5.")]
Std = Annotated[str | None, typer.Option(help="Channel standard deviations, as 0.5,0.5,0.5.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Maps are float32 all the same.")]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-t",
        help="A class name, index or wnid; not:NAME (what is against it); NAME-vs:NAME (why one and not the other); "
        "finer:NAME (what tells it from its nearest rivals); top:5. Of other models caption, word:3, answer, box:2, "
        "region:MASK.png, object:X,Y, text:SENTENCE: `sightline targets`. May be repeated. "
        "Default: what the model says itself.",
    ),
]  # fmt: skip
Question = Annotated[str | None, typer.Option(help="What a model that answers questions is asked about the picture.")]
Sentence = Annotated[
    str | None, typer.Option("--text", help="A sentence: read in place of a captioner's own, or compared by CLIP.")
]
Seed = Annotated[int, typer.Option(min=0, help="What methods that draw random numbers draw.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made if need be.")]


def names(text: str) -> list[str]:
    """Names separated by commas; a comma inside brackets belongs to an option."""
    return [name.strip() for name in re.split(r",(?![^(]*\))", text)]


def load_model(
    name: str | None, weights: str | None, labels: Path | None, size: str | None, fit: str | None,
    mean: str | None, std: str | None, device: str, dtype: str | None,
) -> "Model":  # fmt: skip
    """The model that the options describe. Raises ModelError for what can't be read or loaded."""
    import sys

    import torch

    from sightline.sources import bundled, load

    sys.path.insert(0, "")  # a model of one's own lies where one stands
    kinds = {None: None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in kinds:
        raise ModelError(f"no dtype {dtype!r}; choose float32, bfloat16 or float16")
    model = load(name or bundled.DEFAULT, weights=weights, labels=labels, device=device, dtype=kinds[dtype])
    return _with_preprocess(model, size, fit, mean, std)


def _with_preprocess(model: "Model", size: str | None, fit: str | None, mean: str | None, std: str | None) -> "Model":
    from dataclasses import replace

    from sightline.sources.opened import ASSUMED

    given: dict[str, object] = {}
    if size is not None:
        height, _, width = size.lower().partition("x")
        given["size"] = (_number(height, size), _number(width or height, size))
        resize = model.preprocess.resize
        shorter = resize if isinstance(resize, int) else min(resize)
        given["resize"] = round(min(given["size"]) * shorter / min(model.preprocess.size))  # type: ignore[call-overload]
    if fit is not None:
        given["fit"] = fit
    given |= {name: _numbers(text) for name, text in (("mean", mean), ("std", std)) if text is not None}
    preprocess: Preprocess = replace(model.preprocess, **given)  # type: ignore[arg-type]
    return replace(model, preprocess=preprocess, note="" if given and ASSUMED in model.note else model.note)


def _number(text: str, whole: str) -> int:
    if not text.isdigit() or not int(text):
        raise ModelError(f"size {whole!r} can't be read; expected pixels, as 224 or 224x320 (height x width)")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ModelError(f"{text!r} can't be read; expected numbers, as 0.5,0.5,0.5") from error
