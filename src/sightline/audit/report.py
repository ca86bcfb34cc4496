"""An audit as one page of HTML that needs nothing else: the verdict, the ranking, and every class with pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import torch
from jinja2 import Environment
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from sightline.audit.found import Audit, ClassAudit, Estimate, Example, Group, Level, Region
from sightline.audit.places import OBJECT, Marks, Places
from sightline.audit.seen import Class, class_of
from sightline.errors import SightlineError
from sightline.geometry import Framing
from sightline.regions import Mask
from sightline.render import overlay, table
from sightline.runs.kept import Row, Run

FULL = 20  # classes that are shown in full
RANKED = 50  # classes of the ranking before the fold
THUMB = 220, 160  # width and height, in pixels, in which an example has to fit
AVERAGE = 112  # pixels of an average map's side
LINE = 2  # pixels of a region's outline
ENDS = 0.1, 0.25, 0.5, 1.0  # shares that bars may end at
WHITE, BLUE, YELLOW = (255, 255, 255), (64, 196, 255), (255, 236, 120)
MARKS = {Level.BIASED: "▲", Level.UNSURE: "◆", Level.CLEAR: "●", Level.UNKNOWN: "○"}


def page(
    audit: Audit,
    run: Run,
    regions: Mapping[str, Marks] = {},
    suspects: Mapping[str, Marks] = {},
    *,
    full: int = FULL,
) -> str:
    """The report. `regions` and `suspects` are those that `audit` was given, to outline them in the examples.

    Biased classes, and then the highest in the ranking, `full` in all, are shown with their groups and examples, the
    others in the ranking alone. Of the data set only the pictures of these examples are read; one that can't be read
    any more is shown as its map alone.
    """
    biased_first = sorted(audit.classes, key=lambda each: each.verdict.level is not Level.BIASED)
    first = {_key(each) for each in biased_first[:full]}
    shown = [each for each in audit.classes if _key(each) in first]
    anchors = {_key(each): place for place, each in enumerate(audit.classes) if _key(each) in first}
    groups = [group for one in shown for group in _groups(one)] + list(audit.subgroups)
    groups += [] if shown else [audit.everything]
    examples = [example for group in groups for example in group.examples]
    pictures, why = _pictures(examples, audit, run, Places(run, regions, suspects))
    evens = even(audit)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": lambda value: percent(value).replace(" ", "\u00a0"), "interval": interval, "times": times,
        "points": points, "average": average, "length_of": _length,
    }  # fmt: skip
    template = resources.files("sightline.audit").joinpath("report.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        one=audit,
        shown=shown,
        anchor=lambda each: anchors.get(_key(each)),
        ranked=RANKED,
        rest=len(audit.classes) - len(shown),
        marks=MARKS,
        levels=list(Level),
        counts={level: sum(each.verdict.level == level for each in audit.classes) for level in Level},
        summary=summary(audit),
        worst=worst(audit) or (shown[0] if shown else None),
        most_misplaced=_most([each.misplaced for each in audit.classes]),
        most_shares=_most(
            [share.evidence for group in (audit.everything, *(one.all for one in shown)) for share in group.shares]
        ),
        even=lambda each: evens[_key(each)],
        misplaced=misplaced_in(audit.regions),
        thumb=lambda example: pictures.get((example.picture, class_of(example))),
        no_pictures=why,
        aligned=any(group.aligned is not None for group in (audit.everything, *(each.all for each in audit.classes))),
    )


def summary(audit: Audit) -> list[str]:
    """The overall verdict, in sentences: how many classes are how, the worst, what hiding says, what has changed."""
    told = [_tally(audit)]
    if (one := worst(audit)) is not None:
        first = "Highest in the ranking" if one.verdict.level is Level.CLEAR else "The worst"
        told.append(f"{first} is {one.name}: {one.verdict.words}")
        if len(audit.classes) > 1:
            told.append(_together(audit))
    elif not audit.regions:
        told.append(
            "Nothing says where evidence should lie: with the object's masks or boxes, or suspect regions, classes "
            "are judged and ranked."
        )
    for change in audit.changes[:1]:
        told.append(_changed(audit, change.accuracy, change.evidence))
    return [each for each in told if each]


def worst(audit: Audit) -> ClassAudit | None:
    """The highest in the ranking of those with the worst verdict; None where no class could be judged."""
    order = [Level.BIASED, Level.UNSURE, Level.CLEAR]
    judged = [each for each in audit.classes if each.verdict.level in order]
    return min(judged, key=lambda each: order.index(each.verdict.level), default=None)


def misplaced_in(regions: Sequence[Region]) -> str:
    """Where the evidence lies that is misplaced, in words; empty where nothing says so."""
    suspects = [each.name for each in regions if each.suspect]
    if suspects:
        return "in " + _listed(suspects, "or")
    return "outside the object" if any(each.name == OBJECT for each in regions) else ""


def even(audit: Audit) -> dict[Class, float | None]:
    """For each class the share of its evidence that an even map would have where none should lie."""
    areas: dict[Class, list[float]] = {_key(each): [] for each in audit.classes}
    for look in audit.looks:
        if look.misplaced is not None and class_of(look) in areas:
            areas[class_of(look)].append(look.misplaced[1])
    return {key: sum(found) / len(found) if found else None for key, found in areas.items()}


def percent(value: Estimate | float | None) -> str:
    """A share (0 to 1) as per cent."""
    number = value.value if isinstance(value, Estimate) else value
    return "-" if number is None else f"{100 * number:.1f} %"


def times(value: Estimate | float | None) -> str:
    """A ratio."""
    number = value.value if isinstance(value, Estimate) else value
    return "-" if number is None else f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}×"


def points(value: Estimate) -> str:
    """A difference of shares, in points of per cent, with its sign."""
    return "-" if value.value is None else f"{100 * value.value:+.1f}".replace("-", "−")


def interval(value: Estimate, unit: float = 100) -> str:
    """An estimate's 95 % interval, in per cent, or as it is with a unit of 1."""
    if value.low is None or value.high is None:
        return ""
    digits = 2 if unit == 1 and value.high < 10 else 1
    return f"{unit * value.low:.{digits}f} to {unit * value.high:.{digits}f}".replace("-", "−")


def from_to(before: Estimate, after: Estimate, change: Estimate) -> str:
    """A figure before and after, and the difference."""
    spread = interval(change)
    return f"from {percent(before)} to {percent(after)} ({points(change)} points{f', {spread}' * bool(spread)})"


def average(heat: Tensor) -> str:
    """An average map (h, w) as a picture, its greatest value the brightest colour, for a page."""
    wide = interpolate(heat[None, None].float().nan_to_num(), (AVERAGE, AVERAGE), mode="bilinear")[0, 0].clamp(min=0)
    top = float(wide.max())
    levels = (wide / top if top > 0 else wide).mul(255).round().to(torch.uint8)
    shown = Image.fromarray(levels.numpy())
    shown.putpalette(table("ember").tobytes())
    return _encoded(shown, "PNG", optimize=True)


def outlined(picture: Image.Image, mask: Mask, colour: tuple[int, int, int], *, dashed: bool = False) -> Image.Image:
    """The picture as RGB with the edges of a mask (height, width) drawn just inside it, and a dark rim around them."""
    edge = mask & ~ndimage.binary_erosion(mask, iterations=LINE)
    rim = ndimage.binary_dilation(edge) & ~edge
    if dashed:
        down, across = np.indices(mask.shape)
        edge = edge & ((down + across) % 10 < 6)
        rim = rim & ((down + across) % 10 < 6)
    pixels = np.array(picture.convert("RGB"))
    pixels[rim] = (24, 24, 24)
    pixels[edge] = colour
    return Image.fromarray(pixels)


def _key(one: ClassAudit) -> Class:
    return one.index, one.name


def _groups(one: ClassAudit) -> tuple[Group, ...]:
    """The groups whose examples are shown; those of all where right and wrong have none."""
    parted = (one.right, one.wrong, *one.subgroups, *one.clusters)
    return parted if one.right.examples or one.wrong.examples else (one.all, *parted)


def _pictures(
    examples: Sequence[Example], audit: Audit, run: Run, places: Places
) -> tuple[dict[tuple[str, Class], str], str]:
    """Each example as a picture for the page, by its picture and class; and why some can't be shown."""
    wanted = {(example.picture, class_of(example)) for example in examples}
    found: dict[tuple[str, Class], str] = {}
    why = ""
    for row in run.rows(audit.method, {picture for picture, _ in wanted}) if wanted else ():
        key = row["picture"], (row["index"], row["target"])
        if key not in wanted or key in found:
            continue
        try:
            sample, marks = places.picture(row), places.of(row)
        except SightlineError as error:
            sample, marks, why = None, {}, str(error)
        shown = _overlay(row, None if sample is None else sample.picture)
        for region in audit.regions:
            if (place := marks.get(region.name)) is not None:
                colour = BLUE if region.suspect else WHITE if region.name == OBJECT else YELLOW
                shown = outlined(shown, _small(place.mask, shown.size), colour, dashed=region.suspect)
        found[key] = _encoded(shown, "JPEG", quality=82, subsampling=0)
    return found, why


def _overlay(row: Row, picture: Image.Image | None) -> Image.Image:
    """The map over its picture, or over black, as small as it is shown."""
    width, height = row.size
    scale = min(THUMB[0] / width, THUMB[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    x0, y0, x1, y1 = row.framing.seen
    across, down = size[0] / width, size[1] / height
    framing = Framing(picture=size, image=row.framing.image, seen=(x0 * across, y0 * down, x1 * across, y1 * down))
    small = Image.new("RGB", size) if picture is None else picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return overlay(small, np.asarray(framing.to_picture(row.map).numpy()))


def _small(mask: Mask, size: tuple[int, int]) -> Mask:
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(grey) > 127


def _encoded(picture: Image.Image, kind: str, **options: Any) -> str:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def _length(value: float, most: float) -> str:
    """A share as a length of CSS, where `most` is all of it."""
    return f"{100 * min(max(value / most, 0.0), 1.0):.2f}%"


def _most(estimates: Sequence[Estimate]) -> float:
    """A round share (0 to 1) that none of the intervals exceeds, for bars to end at."""
    highest = max((each.high or each.value or 0.0 for each in estimates), default=1.0)
    return next((each for each in ENDS if each >= highest), 1.0)


def _tally(audit: Audit) -> str:
    """How many classes are how, with the names of the biased ones."""
    count = len(audit.classes)
    if not count:
        return "No class has a picture that could be judged."
    by = {level: [each.name for each in audit.classes if each.verdict.level is level] for level in Level}
    if len(by[Level.UNKNOWN]) == count:
        return f"Of {_many(count, 'class')} none can be judged."
    if count > 1 and (all_ := next((level for level in Level if len(by[level]) == count), None)):
        return f"{'Both' if count == 2 else f'All {count:,}'} classes are {all_}."
    biased, unsure, clear = by[Level.BIASED], by[Level.UNSURE], by[Level.CLEAR]
    parts = [f"{len(biased)} {_is(biased)} biased ({_listed(biased[:5])}{' and others' * (len(biased) > 5)})"] * bool(
        biased
    )
    parts += [f"{len(unsure)} {_is(unsure)} unsure"] * bool(unsure)
    parts += [f"{len(clear)} {_is(clear)} clear"] * bool(clear)
    parts += [f"{len(by[Level.UNKNOWN])} can't be judged"] * bool(by[Level.UNKNOWN])
    return f"Of {_many(count, 'class')} {_listed(parts)}."


def _together(audit: Audit) -> str:
    """The shares of all pictures together."""
    told = [
        f"{percent(share.evidence)} of the evidence ({interval(share.evidence)}) lies in {share.region.name}, "
        f"{times(share.lift)} its share of the area"
        for share in audit.everything.shares
        if share.evidence.value is not None and (share.region.suspect or not any(s.suspect for s in audit.regions))
    ]
    return f"Over all classes {_listed(told)}." if told else ""


def _changed(
    audit: Audit,
    accuracy: tuple[Estimate, Estimate, Estimate],
    evidence: Mapping[str, tuple[Estimate, Estimate, Estimate]],
) -> str:
    before = (audit.before or {}).get("model", "before")
    told = [f"accuracy goes {from_to(*accuracy)}"]
    for name, (old, new, change) in evidence.items():
        if old.value is not None and new.value is not None:
            told.append(f"evidence in {name} {from_to(old, new, change)}")
    return f"Compared with {before}, {_listed(told)}."


def _listed(words: Sequence[str], last: str = "and") -> str:
    return " ".join([", ".join(words[:-1]), last, words[-1]]) if len(words) > 1 else "".join(words)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count:,} {what}es"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
