"""Pictures with words: one with its caption and colour bar, or many side by side on a sheet."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, sqrt
from statistics import median

from PIL import Image, ImageDraw, ImageFont

from sightline.render.colours import table

PAPER = (250, 250, 248)
GROUND = (236, 236, 233)
INK = (28, 28, 30)
FAINT = (112, 112, 117)

# What Pillow's built-in font lacks and Unicode doesn't take apart by itself.
_PLAIN = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "−": "-",
        "×": "x",
        "→": ">",
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "æ": "ae",
        "Æ": "AE",
    }
)
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture to show, its title, and a quieter second line."""

    image: Image.Image
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """The key to the colours: a table's name and what its two ends stand for."""

    colours: str = "ember"
    low: str = "0"
    high: str = "max"


EVIDENCE = Bar()
SIGNED = Bar("tide", "against", "for")


@dataclass(frozen=True, slots=True)
class _Type:
    """Sizes in pixels that belong together, for a column of that width."""

    title: int
    note: int
    gap: int

    @property
    def title_line(self) -> int:
        return round(1.3 * self.title)

    @property
    def note_line(self) -> int:
        return round(1.35 * self.note)


def captioned(tile: Tile, *, bar: Bar | None = EVIDENCE) -> Image.Image:
    """The picture with a caption strip below: title, note, and at the right the colour bar, if any.

    Pictures below 360 pixels in width are enlarged (within 360 x 720, the rest is ground); larger
    ones keep their pixels, and the words grow with them.
    """
    shown = _enlarged(tile.image.convert("RGB"))
    width = max(shown.width, 360)
    type_ = _type_for(min(width, 2 * max(shown.height, 180)))
    pad = type_.gap
    strip = 2 * pad + type_.title_line + type_.note_line
    page = Image.new("RGB", (width, shown.height + strip), PAPER)
    page.paste(GROUND, (0, 0, width, shown.height))
    page.paste(shown, ((width - shown.width) // 2, 0))
    room = width - 2 * pad
    if bar is not None:
        across = min(round(6 * type_.title), room // 2)
        _draw_bar(page, bar, (width - pad - across, shown.height + pad), across, type_)
        room -= across + 2 * pad
    _draw_words(page, tile, (pad, shown.height + pad), room, type_)
    return page


def sheet(
    tiles: Sequence[Tile],
    *,
    columns: int | None = None,
    tile_width: int = 320,
    title: str = "",
    note: str = "",
    bar: Bar | None = EVIDENCE,
) -> Image.Image:
    """A contact sheet: the tiles in reading order, each with its words, under one title, note and colour bar.

    Every picture is fitted, never cropped, into a common box of `tile_width` pixels and the tiles'
    median aspect. `columns` is by default all up to four tiles, then a near-square.
    Raises ValueError without tiles, or for a width or a number of columns below 1.
    """
    if not tiles or tile_width < 1 or (columns is not None and columns < 1):
        raise ValueError(
            f"a sheet of {len(tiles)} tiles, {tile_width} pixels wide, in {columns} columns; "
            "expected at least one of each"
        )
    columns = min(columns or (len(tiles) if len(tiles) <= 4 else ceil(sqrt(len(tiles)))), len(tiles))
    type_ = _type_for(tile_width)
    aspect = median(tile.image.height / tile.image.width for tile in tiles)
    box = (tile_width, max(1, round(tile_width * min(max(aspect, 0.5), 1.5))))
    margin, gap = 2 * type_.gap, round(1.5 * type_.gap)
    notes = type_.note_line if any(tile.note for tile in tiles) else 0
    cell = box[1] + type_.gap // 2 + type_.title_line + notes
    rows = ceil(len(tiles) / columns)
    width = 2 * margin + columns * tile_width + (columns - 1) * gap
    head = _type_for(round(1.4 * tile_width))
    top = margin + (head.title_line + type_.note_line + type_.gap if title or bar else 0)
    page = Image.new("RGB", (width, top + rows * cell + (rows - 1) * gap + margin), PAPER)
    _draw_head(page, Tile(page, title, note), bar, margin, head, type_)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        corner = (margin + column * (tile_width + gap), top + row * (cell + gap))
        page.paste(_fitted(tile.image.convert("RGB"), box), corner)
        _draw_words(page, tile, (corner[0], corner[1] + box[1] + type_.gap // 2), tile_width, type_)
    return page


def _type_for(width: int) -> _Type:
    """Type for a column of that many pixels: it grows more slowly than the column, as in print."""
    scale: float = max(width / 360, 0.8) ** 0.65
    return _Type(title=round(17 * scale), note=round(13 * scale), gap=round(14 * scale))


def _enlarged(image: Image.Image) -> Image.Image:
    factor = min(360 / image.width, 720 / image.height)
    return _resized(image, factor) if factor > 1 else image


def _fitted(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The image, resized to touch the box's sides from within, centred on the ground."""
    inner = _resized(image, min(box[0] / image.width, box[1] / image.height))
    ground = Image.new("RGB", box, GROUND)
    ground.paste(inner, ((box[0] - inner.width) // 2, (box[1] - inner.height) // 2))
    return ground


def _resized(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _draw_head(page: Image.Image, words: Tile, bar: Bar | None, margin: int, head: _Type, type_: _Type) -> None:
    room = page.width - 2 * margin
    if bar is not None:
        across = min(round(8 * type_.title), room // 3)
        _draw_bar(page, bar, (page.width - margin - across, margin), across, type_)
        room -= across + 2 * type_.gap
    if words.title:
        _draw_title(page, words.title, (margin, margin), room, head.title)
    if words.note:
        note = _shortened(words.note, _font(type_.note), room)
        ImageDraw.Draw(page).text((margin, margin + head.title_line), note, FAINT, _font(type_.note))


def _draw_words(page: Image.Image, tile: Tile, corner: tuple[int, int], room: int, type_: _Type) -> None:
    x, y = corner
    _draw_title(page, tile.title, corner, room, type_.title)
    note = _shortened(tile.note, _font(type_.note), room)
    ImageDraw.Draw(page).text((x, y + type_.title_line), note, FAINT, _font(type_.note))


def _draw_title(page: Image.Image, title: str, corner: tuple[int, int], room: int, size: int) -> None:
    weight = size / 60
    words = _shortened(title, _font(size), room - ceil(2 * weight))
    ImageDraw.Draw(page).text(corner, words, INK, _font(size), stroke_width=weight)


def _draw_bar(page: Image.Image, bar: Bar, corner: tuple[int, int], across: int, type_: _Type) -> None:
    """The colour table, `across` pixels wide, with the names of its ends below."""
    x, y = corner
    height = max(4, round(0.5 * type_.title))
    y += (type_.title_line - height) // 2
    strip = Image.fromarray(table(bar.colours)[None]).resize((across, height), Image.Resampling.BILINEAR)
    page.paste(strip, (x, y))
    draw, font, below = ImageDraw.Draw(page), _font(type_.note), corner[1] + type_.title_line
    low, high = (_shortened(label, font, across // 2) for label in (bar.low, bar.high))
    draw.text((x, below), low, FAINT, font)
    draw.text((x + across - font.getlength(high), below), high, FAINT, font)


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text on one line, cut with an ellipsis where it is over `room` pixels; "" if even that is."""
    whole = _plain(text)
    if font.getlength(whole) <= room:
        return whole
    fits, too_long = -1, len(whole)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.getlength(whole[:middle].rstrip() + "…") <= room:
            fits = middle
        else:
            too_long = middle
    return "" if fits < 0 else whole[:fits].rstrip() + "…"


def _plain(text: str) -> str:
    """One line in what the font can draw: accents dropped, anything unprintable a question mark."""
    line = " ".join(text[:_LONGEST].split()).translate(_PLAIN)
    letters = (each for each in unicodedata.normalize("NFKD", line) if not unicodedata.combining(each))
    return "".join(each if each.isprintable() else "?" for each in letters)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font
