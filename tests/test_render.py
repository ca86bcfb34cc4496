"""Colours, overlays and sheets, as numbers: lightness, blends by hand, edges of boxes, sizes of pages."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from sightline.errors import SightlineError
from sightline.render import (
    EVIDENCE,
    SIGNED,
    Bar,
    ColourError,
    Tile,
    captioned,
    colour,
    outlined,
    overlay,
    sheet,
    table,
)
from sightline.render.sheet import GROUND, INK, PAPER, _shortened, _type_for

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
SIZES = st.sampled_from([(1, 1), (1, 40), (40, 1), (2, 3), (17, 5)])


def oklab(rgb: np.ndarray) -> tuple[float, float, float]:
    """Ottosson's published steps, one colour at a time."""
    linear = []
    for byte in rgb.tolist():
        share = byte / 255
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    r, g, b = linear
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def lightness(name: str) -> list[float]:
    return [oklab(row)[0] for row in table(name)]


def test_ember_grows_lighter_step_by_step() -> None:
    light = lightness("ember")
    steps = np.diff(light)
    assert min(steps) > 0.0015
    assert light[0] < 0.15
    assert light[-1] > 0.93
    straight = np.linspace(light[0], light[-1], 256)
    assert np.abs(light - straight).max() < 0.003


def test_tide_is_as_light_on_either_side() -> None:
    light = np.array(lightness("tide"))
    assert np.abs(light - light[::-1]).max() < 0.003
    assert (np.diff(light[:128]) > 0).all()
    assert (np.diff(light[128:]) < 0).all()
    assert light[127] > 0.95
    for middle in (127, 128):
        assert np.hypot(*oklab(table("tide")[middle])[1:]) < 0.01
    against, for_ = oklab(table("tide")[0]), oklab(table("tide")[255])
    assert against[2] < -0.1
    assert for_[1] > 0.1


@pytest.mark.parametrize("name", ["ember", "tide"])
def test_neighbours_look_alike(name: str) -> None:
    lab = np.array([oklab(row) for row in table(name)])
    distance = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert distance.max() < 0.012


def test_tables_are_looked_up() -> None:
    assert table("grey")[:, 1].tolist() == list(range(256))
    for name in ("ember", "tide", "grey"):
        assert table(name).shape == (256, 3)
        assert table(name).dtype == np.uint8
        assert table(name) is table(name)
        with pytest.raises(ValueError, match="read-only"):
            table(name)[0] = 0
    values = np.array([[-1, 0, 0.5], [1, 9, np.nan]])
    rows = [[0, 0, 128], [255, 255, 0]]
    np.testing.assert_array_equal(colour(values, "ember"), table("ember")[np.array(rows)])


def test_unknown_colours_name_the_choices() -> None:
    for wrong in (
        lambda: table("jet"),
        lambda: overlay(PICTURE, np.zeros((20, 30)), colours="jet"),
        lambda: captioned(Tile(PICTURE, "a"), bar=Bar("jet")),
    ):
        with pytest.raises(ColourError, match="'jet'.*ember, tide, grey") as caught:
            wrong()
        assert isinstance(caught.value, SightlineError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("peak", [None, 0.0, 2.0])
def test_no_evidence_leaves_the_picture_as_it_is(signed: bool, peak: float | None) -> None:
    result = overlay(PICTURE, np.zeros((20, 30)), signed=signed, peak=peak)
    np.testing.assert_array_equal(np.asarray(result), PIXELS)
    assert result is not PICTURE


def test_evidence_against_counts_as_none_when_unsigned() -> None:
    np.testing.assert_array_equal(np.asarray(overlay(PICTURE, -np.ones((20, 30)))), PIXELS)
    heat = RNG.normal(size=(20, 30))
    np.testing.assert_array_equal(np.asarray(overlay(PICTURE, heat)), np.asarray(overlay(PICTURE, np.maximum(heat, 0))))


def blended(pixel: list[int], level: int, cover: float, name: str) -> list[float]:
    """The picture fades to grey, and the colour covers it, both by `cover`."""
    grey = (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2]) / 1000
    faded = [(1 - cover) * channel + cover * grey for channel in pixel]
    over = table(name)[level].tolist()
    return [(1 - cover) * faded[i] + cover * over[i] for i in range(3)]


def test_four_pixels_by_hand() -> None:
    pixels = [[[200, 100, 50], [10, 20, 250]], [[0, 0, 0], [255, 255, 255]]]
    picture = Image.fromarray(np.array(pixels, dtype=np.uint8))
    (a, b), (c, d) = pixels
    heat = np.array([[0.0, 1.0], [2.0, 4.0]])
    expected = [
        [blended(a, 0, 0.0, "ember"), blended(b, 64, 0.8 * 0.4375, "ember")],
        [blended(c, 128, 0.8 * 0.75, "ember"), blended(d, 255, 0.8, "ember")],
    ]
    got = np.asarray(overlay(picture, heat, opacity=0.8)).astype(float)
    assert np.abs(got - expected).max() < 2
    heat = np.array([[0.0, 1.0], [-2.0, -4.0]])
    expected = [
        [blended(a, 128, 0.0, "tide"), blended(b, 159, 0.5 * 0.4375, "tide")],
        [blended(c, 64, 0.5 * 0.75, "tide"), blended(d, 0, 0.5, "tide")],
    ]
    got = np.asarray(overlay(picture, heat, opacity=0.5, signed=True)).astype(float)
    assert np.abs(got - expected).max() < 2


def test_peak_is_a_common_scale() -> None:
    heat = np.abs(RNG.normal(size=(20, 30)))
    np.testing.assert_array_equal(
        np.asarray(overlay(PICTURE, heat)), np.asarray(overlay(PICTURE, 1000 * heat, peak=1000 * heat.max()))
    )
    faint = np.asarray(overlay(PICTURE, heat, peak=100 * heat.max())).astype(int)
    strong = np.asarray(overlay(PICTURE, heat)).astype(int)
    assert np.abs(faint - PIXELS).mean() < 0.3 * np.abs(strong - PIXELS).mean()
    flat = np.full((20, 30), 5.0)
    assert overlay(PICTURE, flat, peak=1).tobytes() == overlay(PICTURE, flat).tobytes()


def test_where_the_model_could_not_look_is_grey_and_dim() -> None:
    heat = np.abs(RNG.normal(size=(20, 30)))
    seen_only = np.asarray(overlay(PICTURE, heat, peak=1))
    heat[:, :8] = np.nan
    for signed in (False, True):
        result = np.asarray(overlay(PICTURE, heat, peak=1, signed=signed)).astype(int)
        unseen, before = result[:, :8], PIXELS[:, :8].astype(int)
        assert np.ptp(unseen, axis=-1).max() == 0
        assert 0.3 < unseen.mean() / before.mean() < 0.6
        if not signed:
            np.testing.assert_array_equal(result[:, 8:], seen_only[:, 8:])
    blind = np.asarray(overlay(PICTURE, np.full((20, 30), np.nan)))
    assert np.ptp(blind, axis=-1).max() == 0


def test_more_evidence_glows_more() -> None:
    grey = Image.new("RGB", (256, 1), (90, 90, 90))
    ramp = np.linspace(0, 1, 256)[None]
    result = np.asarray(overlay(grey, ramp)).astype(int)[0]
    light = [oklab(row)[0] for row in result]
    assert light[255] - light[0] > 0.3
    assert (np.diff(light[100:]) > -0.004).all()
    covered = np.abs(result - 90).sum(axis=1)
    assert covered[5] < 40 < 150 < covered[255]


def test_extreme_values_and_other_modes() -> None:
    for peak in (5e-324, 1e-300, 1e300):
        heat = np.zeros((20, 30))
        heat[3, 4] = peak
        result = np.asarray(overlay(PICTURE, heat)).astype(int)
        assert np.abs(result[3, 4] - PIXELS[3, 4]).sum() > 20
        assert (np.delete(result.reshape(-1, 3), 94, 0) == np.delete(PIXELS.reshape(-1, 3), 94, 0)).all()
    half = np.linspace(0, 1, 600).reshape(20, 30).astype(np.float16)
    for mode in ("L", "RGBA", "P", "1"):
        assert overlay(PICTURE.convert(mode), half).mode == "RGB"


def test_what_is_no_heat_for_this_picture() -> None:
    with pytest.raises(ValueError, match=r"\(30, 20\).*\(20, 30\)"):
        overlay(PICTURE, np.zeros((30, 20)))
    with pytest.raises(ValueError, match="opacity is 1.5"):
        overlay(PICTURE, np.zeros((20, 30)), opacity=1.5)
    with pytest.raises(ValueError, match="infinite"):
        overlay(PICTURE, np.full((20, 30), np.inf))


def test_twelve_megapixels_take_less_than_a_second() -> None:
    picture = Image.new("RGB", (4000, 3000), (90, 120, 60))
    heat = np.linspace(-0.2, 1, 12_000_000, dtype=np.float32).reshape(3000, 4000)
    heat[:, :300] = np.nan
    times = []
    for _ in range(3):
        start = time.perf_counter()
        overlay(picture, heat)
        times.append(time.perf_counter() - start)
        if times[-1] < 1:
            break
    assert min(times) < 1


def test_a_box_covers_its_own_edge_pixels() -> None:
    black = Image.new("RGB", (20, 16), (9, 9, 9))
    result = np.asarray(outlined(black, [4, 3, 14, 12], colour=(255, 0, 0), width=2))
    red = (result == [255, 0, 0]).all(axis=-1)
    expected = np.zeros((16, 20), bool)
    expected[3:12, 4:14] = True
    expected[5:10, 6:12] = False
    np.testing.assert_array_equal(red, expected)
    rim = (result == [24, 24, 24]).all(axis=-1)
    around = np.zeros((16, 20), bool)
    around[2:13, 3:15] = True
    around[3:12, 4:14] = False
    np.testing.assert_array_equal(rim, around)
    assert (np.asarray(black) == 9).all()


def test_boxes_at_and_beyond_the_border() -> None:
    whole = np.asarray(outlined(PICTURE, (0, 0, 30, 20), width=1))
    assert (whole[[0, -1]] == 255).all()
    assert (whole[:, [0, -1]] == 255).all()
    np.testing.assert_array_equal(whole[1:-1, 1:-1], PIXELS[1:-1, 1:-1])
    for empty in ((5, 5, 5, 9), (5, 5, 2, 9), (5.1, 5.1, 5.4, 5.4)):
        np.testing.assert_array_equal(np.asarray(outlined(PICTURE, empty)), PIXELS)
    np.testing.assert_array_equal(np.asarray(outlined(PICTURE, (100, 100, 200, 200))), PIXELS)
    assert outlined(PICTURE, (-10, -10, 500, 500)).size == (30, 20)
    one = np.asarray(outlined(PICTURE, (6.6, 2.4, 8.4, 3.4), width=1))
    assert (one[2, 7] == 255).all()


def test_a_caption_goes_below_and_the_picture_stays() -> None:
    photo = Image.fromarray(RNG.integers(0, 256, (480, 640, 3), dtype=np.uint8))
    page = captioned(Tile(photo, "a cat", "0.83"))
    assert page.width == 640
    assert 0.08 < (page.height - 480) / 480 < 0.3
    np.testing.assert_array_equal(np.asarray(page)[:480], np.asarray(photo))
    strip = np.asarray(page)[480:]
    assert (strip[0] == PAPER).all()
    assert (strip == INK).all(axis=-1).any()
    assert np.asarray(captioned(Tile(photo, "a cat"), bar=None)).shape == np.asarray(page).shape


@pytest.mark.parametrize(("bar", "first", "last"), [(EVIDENCE, 0, 255), (SIGNED, 0, 255)])
def test_the_bar_runs_from_the_first_colour_to_the_last(bar: Bar, first: int, last: int) -> None:
    strip = np.asarray(captioned(Tile(Image.new("RGB", (640, 480)), "a cat"), bar=bar))[480:]
    ends = []
    for level in (first, last):
        near = np.abs(strip.astype(int) - table(bar.colours)[level].astype(int)).max(axis=-1) <= 4
        rows, columns = np.nonzero(near)
        assert len(rows) >= 4
        ends.append(columns.mean())
    assert 320 < ends[0] < ends[1] - 60
    assert ends[1] < 640 - 10


@pytest.mark.parametrize(
    ("size", "page"),
    [
        ((32, 32), (360, 360)),
        ((224, 224), (360, 360)),
        ((1, 1), (360, 360)),
        ((1, 2000), (360, 2000)),
        ((10, 100), (360, 720)),
        ((3000, 1), (3000, 1)),
        ((4000, 3000), (4000, 3000)),
    ],
)
def test_small_pictures_are_enlarged_and_words_grow(size: tuple[int, int], page: tuple[int, int]) -> None:
    result = captioned(Tile(Image.new("RGB", size, (200, 0, 0)), "a cat", "0.83"))
    assert result.width == page[0]
    strip = result.height - page[1]
    assert strip >= 55
    assert strip <= 0.25 * max(page)
    if size == (4000, 3000):
        assert strip > 200


def test_a_sheet_is_as_large_as_its_parts() -> None:
    tiles = [Tile(PICTURE, f"tile {number}") for number in range(5)]
    for columns, across, down in ((None, 3, 2), (1, 1, 5), (2, 2, 3), (5, 5, 1), (9, 5, 1)):
        page = np.asarray(sheet(tiles, columns=columns, tile_width=90, bar=None)).astype(int)
        photo = np.abs(page - PAPER).max(axis=-1) > 3
        type_ = _type_for(90)
        margin, gap = 2 * type_.gap, round(1.5 * type_.gap)
        assert page.shape[1] == 2 * margin + across * 90 + (across - 1) * gap
        cell = 60 + type_.gap // 2 + type_.title_line
        assert page.shape[0] == 2 * margin + down * cell + (down - 1) * gap
        for number in range(5):
            row, column = divmod(number, across)
            y, x = margin + row * (cell + gap), margin + column * (90 + gap)
            assert photo[y : y + 60, x : x + 90].mean() > 0.95
            assert photo[y + 60 : y + cell, x : x + 90].any(), "its title"
            assert not photo[y : y + 60, x - gap + 1 : x].any()


def test_every_shape_fits_whole_into_the_common_box() -> None:
    sizes = (30, 20), (30, 20), (10, 40), (400, 5)
    tiles = [Tile(Image.new("RGB", size, (200, 0, 0)), "") for size in sizes]
    page = np.asarray(sheet(tiles, tile_width=90, bar=None))
    type_ = _type_for(90)
    margin, gap = 2 * type_.gap, round(1.5 * type_.gap)
    shown = []
    for number in range(4):
        x = margin + number * (90 + gap)
        box = page[margin : margin + 60, x : x + 90]
        red = (box == (200, 0, 0)).all(axis=-1)
        assert (red | (box == GROUND).all(axis=-1)).all()
        shown.append((red.any(axis=0).sum(), red.any(axis=1).sum()))
    assert shown == [(90, 60), (90, 60), (15, 60), (90, 1)]


def test_title_and_bar_share_the_head() -> None:
    tiles = [Tile(PICTURE, "one"), Tile(PICTURE, "two")]
    plain = sheet(tiles, bar=None)
    both = sheet(tiles, title="A title", bar=SIGNED)
    for headed in (sheet(tiles, title="A title", bar=None), sheet(tiles), both):
        assert headed.width == plain.width
        assert 30 < headed.height - plain.height < 90
    long = sheet(tiles, title="A title " * 50)
    assert long.size == sheet(tiles, title="A title").size


def test_a_sheet_needs_tiles_and_room() -> None:
    for wrong in (
        lambda: sheet([]),
        lambda: sheet([Tile(PICTURE, "")], columns=0),
        lambda: sheet([Tile(PICTURE, "")], tile_width=0),
    ):
        with pytest.raises(ValueError, match="expected at least one"):
            wrong()


def test_long_words_end_in_an_ellipsis_where_the_room_ends() -> None:
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert _shortened("a cat", font, 200) == "a cat"
    text = "Egyptian cat, a sleek and ancient breed"
    for room in (60, 100, 150):
        short = _shortened(text, font, room)
        kept = short.removesuffix("…")
        assert short != kept
        assert text.startswith(kept)
        assert kept == kept.rstrip()
        assert font.getlength(short) <= room
        longer = text[: len(kept) + 2].rstrip() + "…"
        assert font.getlength(longer) > room
    assert _shortened(text, font, 3) == ""
    assert _shortened("x" * 10**6, font, 100).endswith("…")
    width = 150
    page = np.asarray(sheet([Tile(PICTURE, "W" * 99)], tile_width=width, bar=None)).astype(int)
    right = page[:, -2 * _type_for(width).gap + 1 :]
    assert np.abs(right - PAPER).max() <= 3


@pytest.mark.parametrize(
    "title",
    [
        "",
        "  ",
        "\0",
        "a\nb\tc",
        "\udcff\ud800",
        "\u200f\u202e",
        "犬と猫",
        "\U0001f408\u200d\u2b1b",
        "café – ×",
        "e" + "\u0301" * 300,
    ],
)
def test_any_name_can_be_drawn(title: str) -> None:
    tile = Tile(PICTURE, title, title)
    captioned(tile, bar=Bar("ember", title, title))
    sheet([tile], title=title)


def test_accents_are_dropped_not_lost() -> None:
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert _shortened("Löwe, café – größer\nŁódź", font, 999) == "Lowe, cafe - grosser Lodz"


@settings(deadline=None, max_examples=40)
@given(title=st.text(max_size=60), size=SIZES, tile_width=st.sampled_from([1, 2, 17, 90, 400]))
def test_sheets_and_captions_never_fail(title: str, size: tuple[int, int], tile_width: int) -> None:
    tile = Tile(Image.new("RGB", size), title, title)
    page = sheet([tile, tile], tile_width=tile_width, title=title)
    assert page.width > 2 * tile_width
    assert captioned(tile).width >= 360


@settings(deadline=None, max_examples=60)
@given(
    size=SIZES,
    signed=st.booleans(),
    data=st.data(),
    values=st.lists(st.one_of(st.floats(-10, 10), st.just(float("nan"))), min_size=3, max_size=3),
)
def test_overlays_of_any_shape(size: tuple[int, int], signed: bool, values: list[float], data: st.DataObject) -> None:
    width, height = size
    heat = np.resize(np.array(values), (height, width))
    picture = Image.fromarray(np.resize(PIXELS, (height, width, 3)))
    result = overlay(picture, heat, signed=signed)
    assert result.size == size
    box = data.draw(st.tuples(*[st.floats(-50, 50)] * 4))
    assert outlined(result, box).size == size
    clear = (heat == 0) if signed else heat <= 0
    np.testing.assert_array_equal(np.asarray(result)[clear], np.asarray(picture)[clear])


def test_the_same_twice() -> None:
    heat = RNG.normal(size=(20, 30))
    for make in (
        lambda: overlay(PICTURE, heat, signed=True),
        lambda: captioned(Tile(PICTURE, "a cat", "0.83")),
        lambda: sheet([Tile(PICTURE, "one"), Tile(PICTURE, "two")], title="Two"),
    ):
        assert make().tobytes() == make().tobytes()
