"""An evaluation as one page of HTML that needs nothing else: the table, its meaning, and pictures to look at."""

import base64
import io
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment
from PIL import Image

from sightline.errors import SightlineError
from sightline.evaluation.table import Evaluation, Figure
from sightline.explainer import compare
from sightline.model import Model
from sightline.render import outlined
from sightline.trials import Better, DataSet, Metric, Truth
from sightline.types import Method

SHOWN = 8  # pictures
SIDE = 240  # pixels of a shown picture's height
ARROW = {Better.HIGHER: "↑", Better.LOWER: "↓", Better.NEITHER: ""}


def number(value: float | None, like: float | None = None) -> str:
    """A figure with as many digits as one of its size, or of another's, deserves."""
    if value is None:
        return "-"
    return f"{value:.{1 if abs(value if like is None else like) >= 10 else 3}f}"


def with_spread(figure: Figure) -> str:
    """A figure and half its interval."""
    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} ±{number((figure.high - figure.low) / 2, figure.value)}"


def interval(figure: Figure) -> str:
    """A figure's 95 % interval."""
    return "" if figure.low is None else f"{number(figure.low, figure.value)} to {number(figure.high, figure.value)}"


def page(evaluation: Evaluation, model: Model, data: DataSet, methods: Sequence[Method]) -> str:
    """The report. The pictures on which the methods disagree most are explained again, to be shown."""
    template = resources.files("sightline.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        one=evaluation,
        metrics=[(metric, ARROW[metric.better]) for metric in evaluation.metrics],
        rows=[
            (row, [(row.figures[m.title], number(row.figures[m.title].value), interval(row.figures[m.title]))
                   for m in evaluation.metrics])
            for row in evaluation.rows
        ],
        more=_more(evaluation),
        strips=_strips(evaluation, model, data, methods),
    )  # fmt: skip


def _more(evaluation: Evaluation) -> list[tuple[Metric, list[str], list[tuple[str, list[str]]]]]:
    """Of each metric that has further figures: their names, and each row's."""
    found = []
    for metric in evaluation.metrics:
        rows = [(row.name, row.figures[metric.title].more) for row in evaluation.rows]
        if names := [name for name in metric.more if any(name in more for _, more in rows)]:
            found.append((metric, names, [(name, [number(more.get(each)) for each in names]) for name, more in rows]))
    return found


def _strips(evaluation: Evaluation, model: Model, data: DataSet, methods: Sequence[Method]) -> list[dict[str, Any]]:
    """The pictures on which methods disagree most: each with its first class's map by each method, and the truth."""
    places = {name: place for place, name in enumerate(data.names)}
    strips = []
    for name, value in evaluation.disagreement[:SHOWN]:
        try:
            sample = data[places[name]]
            known = [truth for truth in sample.truths if truth.label not in evaluation.unknown]
            target = model.labels.index(known[0].label) if known else None
            whys = compare(model, sample.picture, target, methods=methods, refused=[])
        except SightlineError:  # told in the table already, or the file has gone since
            continue
        truth = known[0] if known else None
        tiles = [("picture", _encoded(_marked(sample.picture, truth)))]
        tiles += [(why.method, _encoded(_marked(why.overlay(), truth))) for why in whys]
        strips.append({"name": name, "target": whys[0].title, "value": f"{value:.2f}", "tiles": tiles})
    return strips


def _marked(picture: Image.Image, truth: Truth | None) -> Image.Image:
    for x0, y0, x1, y1 in truth.boxes if truth else ():
        picture = outlined(picture, (round(x0), round(y0), round(x1), round(y1)))
    return picture


def _encoded(picture: Image.Image) -> str:
    shown = picture.convert("RGB").resize((max(1, round(picture.width * SIDE / picture.height)), SIDE))
    data = io.BytesIO()
    shown.save(data, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
