"""Pictures as people have them: every format and every way of being broken; exact values where lossless."""

import os
import struct
import threading
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from sightline.errors import PictureError
from sightline.images import PICTURE_SUFFIXES, pictures_in, read_picture, size_of

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
PHOTO = (np.add.outer(np.arange(64), np.arange(96))[..., None] + np.array([0, 40, 80])).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refused(source: object, *words: str, **options: object) -> str:
    """The one line with which `source` is refused; it must hold the words."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")  # as errors, they would be caught inside and become refusals
        with pytest.raises(PictureError) as caught:
            read_picture(source, **options)  # type: ignore[arg-type]
    assert not [str(each.message) for each in leaked]
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises that many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_keep_every_value(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PIXELS), kind, **options)
    path = tmp_path / "picture.dat"
    path.write_bytes(data)
    for source in (data, path, str(path), Image.open(BytesIO(data))):
        picture = read_picture(source)
        assert picture.mode == "RGB"
        assert type(picture) is Image.Image
        np.testing.assert_array_equal(np.asarray(picture), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(kind: str) -> None:
    picture = read_picture(encoded(Image.fromarray(PHOTO), kind, quality=95))
    assert np.abs(np.asarray(picture).astype(int) - PHOTO).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first(kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert picture.getcolors() == [(24, (255, 0, 0))]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65278, 65279, 65535]], dtype=np.uint16)
    picture = read_picture(encoded(Image.fromarray(values), kind))
    expected = [0, 0, 1, 1, 128, 254, 254, 255]
    assert [round(int(v) / 257) for v in values[0]] == expected
    for channel in range(3):
        assert np.asarray(picture)[0, :, channel].tolist() == expected


def test_all_sixteen_bit_values() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (values.astype(int) + 128) // 257
    np.testing.assert_array_equal(np.asarray(read_picture(Image.fromarray(values)))[..., 0], expected)


def test_deep_grey_modes() -> None:
    wide = np.array([[0, 257, 65535]])
    assert np.asarray(read_picture(Image.fromarray(wide.astype(np.int32))))[0, :, 0].tolist() == [0, 1, 255]
    big_endian = Image.frombytes("I;16B", (3, 1), wide.astype(">u2").tobytes())
    assert np.asarray(read_picture(big_endian))[0, :, 0].tolist() == [0, 1, 255]
    for white, values in ((1, [0, 0.5, 1]), (255, [0, 127.6, 255]), (65535, [0, 32896, 65535])):
        file = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
        assert np.asarray(read_picture(file))[0, :, 0].tolist() == [0, 128, 255], white
    refused(Image.fromarray(np.array([[-1024, 3000]], dtype=np.int32)), "-1024", "0 to 65535")
    refused(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "70000")
    refused(Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)), "nan")


def test_see_through_parts_lie_over_white() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 128]]], dtype=np.uint8)
    expected = [[200, 100, 0], [255, 255, 255], [227, 177, 127]]
    for source in (rgba, encoded(Image.fromarray(rgba), "PNG"), encoded(Image.fromarray(rgba), "TIFF")):
        assert np.abs(np.asarray(read_picture(source))[0].astype(int) - expected).max() <= 1
    grey = Image.merge("LA", [Image.new("L", (2, 1), 40), Image.frombytes("L", (2, 1), b"\xff\0")])
    assert np.asarray(read_picture(encoded(grey, "PNG")))[0].tolist() == [[40] * 3, [255] * 3]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency(kind: str, transparency: int | bytes) -> None:
    if kind == "GIF" and isinstance(transparency, bytes):
        transparency = 1
    image = Image.frombytes("P", (3, 1), b"\0\1\2")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 100])
    last = [127, 127, 177] if isinstance(transparency, bytes) else [0, 0, 100]
    got = np.asarray(read_picture(encoded(image, kind, transparency=transparency)))[0].astype(int)
    assert np.abs(got - [[10, 20, 30], [255, 255, 255], last]).max() <= 1


def test_a_colour_key_and_one_bit() -> None:
    keyed = encoded(Image.frombytes("RGB", (2, 1), bytes([1, 2, 3, 9, 9, 9])), "PNG", transparency=(1, 2, 3))
    assert np.asarray(read_picture(keyed))[0].tolist() == [[255] * 3, [9] * 3]
    bits = Image.fromarray(np.array([[True, False, True]]))
    assert bits.mode == "1"
    for kind in ("PNG", "TIFF"):
        for image in (bits, bits.convert("P"), bits.convert("L")):
            picture = read_picture(encoded(image, kind))
            assert picture.tobytes() == b"\xff\xff\xff\0\0\0\xff\xff\xff"


def test_cmyk() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(np.asarray(read_picture(encoded(ink, kind))).astype(int) - [255, 0, 0]).max() <= 3, kind
    plain = encoded(ink, "JPEG")
    start = plain.index(b"Adobe") - 4
    inverted = encoded(ImageChops.invert(ink), "JPEG")
    without_marker = inverted[:start] + inverted[start + 2 + int.from_bytes(inverted[start + 2 : start + 4]) :]
    assert b"Adobe" not in without_marker
    picture = np.asarray(read_picture(without_marker)).astype(int)
    assert np.abs(picture - np.asarray(Image.open(BytesIO(without_marker)).convert("RGB"))).max() == 0


SIDEWAYS = {  # what a camera stores, as index expressions on the upright pixels
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "TIFF-LZW"])
def test_exif_turns_the_picture_upright(kind: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(SIDEWAYS[orientation](PIXELS)))
    exif = Image.Exif()
    exif[0x010F] = "a maker, so that orientation is not the only entry"
    exif[0x0112] = orientation
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    if kind == "TIFF-LZW":
        options = {"compression": "tiff_lzw"}
    data = encoded(stored, kind.split("-")[0], exif=exif, **options)
    picture = read_picture(data)
    np.testing.assert_array_equal(np.asarray(picture), PIXELS)
    np.testing.assert_array_equal(np.asarray(read_picture(picture)), PIXELS)
    np.testing.assert_array_equal(np.asarray(read_picture(Image.open(BytesIO(data)))), PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_jpeg_in_either_byte_order(order: str, orientation: int) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    exif = b"Exif\0\0" + mark + struct.pack(order + "IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + b"\0" * 4
    stored = Image.fromarray(np.ascontiguousarray(SIDEWAYS[orientation](PHOTO)))
    picture = read_picture(encoded(stored, "JPEG", quality=95, exif=exif))
    assert picture.size == (96, 64)
    assert np.abs(np.asarray(picture).astype(int) - PHOTO).mean() < 3


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\xff\x00\0\0\0\0",
    ],
)
def test_broken_exif_is_ignored_and_silent(exif: bytes) -> None:
    assert read_picture(encoded(Image.fromarray(PHOTO), "JPEG", exif=exif)).size == (96, 64)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_arrays(dtype: type) -> None:
    array = PIXELS if dtype is np.uint8 else (PIXELS / 255).astype(dtype)
    np.testing.assert_array_equal(np.asarray(read_picture(array)), PIXELS)
    np.testing.assert_array_equal(np.asarray(read_picture(array[::-1, ::-1])), PIXELS[::-1, ::-1])
    grey = np.asarray(read_picture(array[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
        (np.zeros((4, 0), np.uint8), "(4, 0)"),
        (np.zeros((3, 4, 5), np.uint8), "(height, width, 3)"),
        (np.zeros((1, 4, 5, 3), np.uint8), "(1, 4, 5, 3)"),
        (np.zeros((4, 5, 3), np.int64), "int64"),
        (np.zeros((4, 5), np.uint16), "uint16"),
        (np.zeros((4, 5), bool), "bool"),
        (np.array([["a"]]), "uint8"),
        (np.array([[0.0, 1.5]]), "1.5"),
        (np.array([[-0.1, 1.0]]), "-0.1"),
        (np.array([[0.5, np.nan]]), "nan"),
        (np.array(3, np.uint8), "()"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, word: str) -> None:
    refused(array, word)


def test_the_given_image_is_neither_changed_nor_shared() -> None:
    given_image = Image.fromarray(PIXELS)
    picture = read_picture(given_image)
    picture.paste((0, 0, 0), (0, 0, 7, 5))
    np.testing.assert_array_equal(np.asarray(given_image), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF-LZW", "GIF"])
def test_files_cut_short(kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF-LZW" else {}
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind.split("-")[0], **options)
    for length in (*range(1, 300, 3), len(data) // 10, len(data) // 2, 9 * len(data) // 10):
        message = refused(data[:length], "the data given", "expected")
        assert "broken or cut short" in message or "no picture" in message
    assert read_picture(data).size == (64, 64)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM"]),
    where=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=8),
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind: str, where: float, junk: bytes) -> None:
    data = encoded(Image.fromarray(PHOTO), kind)
    at = int(where * len(data))
    damaged = data[:at] + junk + data[at + len(junk) :]
    try:
        assert read_picture(damaged, max_pixels=1_000_000).mode == "RGB"
    except PictureError:
        refused(damaged, "the data given", max_pixels=1_000_000)


def test_what_is_no_picture(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("These are notes,\nnot a picture.\n")
    refused(text, "notes.jpg", "These are", "JPEG", "convert")
    empty = tmp_path / "empty.png"
    empty.touch()
    refused(empty, "empty.png", "0 bytes")
    refused(b"", "0 bytes")
    refused(tmp_path / "gone.png", "gone.png", "does not exist")
    refused(tmp_path, str(tmp_path), "folder")
    refused("nul\0byte.png", "nul\\x00byte.png")
    refused(tmp_path / "two\nlines.png", "two\\nlines.png", "does not exist")
    refused(b"RIFF\0\0\0\0WAVEfmt ", "the data given")
    for nothing in (None, 3, [1, 2]):
        refused(nothing, type(nothing).__name__)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    refused(pipe, "no regular file")


def test_bombs_are_refused_from_the_header() -> None:
    refused(png_claiming(50_000, 50_000), "50000 x 50000", "100,000,000", "max_pixels")
    refused(png_claiming(9_500, 10_500), "9500 x 10500", max_pixels=99_000_000)
    refused(png_claiming(9_500, 10_500), "cut short")
    refused(Image.fromarray(PIXELS), "7 x 5", max_pixels=34)
    refused(PIXELS, "7 x 5", max_pixels=34)
    refused(Image.new("RGB", (0, 3)), "0 x 3")
    assert read_picture(PIXELS, max_pixels=35).size == (7, 5)
    gif = bytearray(encoded(Image.new("P", (1, 1)), "GIF"))
    frame = gif.index(b",")
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 9_000, 9_000)
    refused(bytes(gif), "9000 x 9000", max_pixels=50_000_000)


def test_beyond_pillows_own_limit_nothing_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.fromarray(PHOTO)
    files = [encoded(photo, kind) for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")]
    files.append(encoded(photo, "TIFF", compression="tiff_lzw"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    for data in files:
        assert read_picture(data).size == (96, 64)
    assert Image.MAX_IMAGE_PIXELS == 4000


def test_threads_read_at_once() -> None:
    data = encoded(Image.fromarray(PIXELS), "PNG")
    wrong: list[object] = []

    def read() -> None:
        for _ in range(30):
            if not np.array_equal(np.asarray(read_picture(data)), PIXELS):
                wrong.append(1)
            try:
                read_picture(png_claiming(50_000, 50_000))
                wrong.append(2)
            except PictureError:
                pass

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.PNG", "a.jpg", "notes.txt", "below/c.tiff", "below/deep/d.webp", ".hidden.png", ".thumbs/e.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "set" / "folder.png").mkdir()
    return tmp_path / "set"


def test_pictures_in_a_folder_and_a_pattern(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(path: str | Path) -> list[str]:
        return [str(each.relative_to(folder)) for each in pictures_in(path)]

    assert names(folder) == names(str(folder)) == ["a.jpg", "b.PNG", "below/c.tiff", "below/deep/d.webp"]
    assert names(folder / "notes.txt") == ["notes.txt"]
    assert names(folder / "*") == ["a.jpg", "b.PNG"]
    assert names(f"{folder}/**/*.[tw]*") == ["below/c.tiff", "below/deep/d.webp"]
    monkeypatch.chdir(folder)
    assert pictures_in("*.jpg") == [Path("a.jpg")]
    assert pictures_in("../set/b*") == [Path("../set/b.PNG")]
    assert len(pictures_in(".")) == 4
    odd = folder / "odd[1].jpg"
    odd.touch()
    assert pictures_in(odd) == [odd]
    assert pictures_in(folder / ".thumbs") == [folder / ".thumbs" / "e.png"]


def test_nothing_found_says_so(folder: Path) -> None:
    (folder / "bare").mkdir()
    for path, word in (
        (folder / "bare", "holds no picture"),
        (folder / "*.bmp", "matches none"),
        (folder / "gone.png", "gone.png"),
        (f"{folder}/a**b", "pattern"),
    ):
        with pytest.raises(PictureError, match=word) as caught:
            pictures_in(path)
        assert "\n" not in str(caught.value)
    assert all(suffix.startswith(".") and suffix.islower() for suffix in PICTURE_SUFFIXES)


def turned(photo: np.ndarray, orientation: int, **options: object) -> bytes:
    """A JPEG file of the picture, stored turned, whose EXIF says how."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(SIDEWAYS[orientation](photo)))
    return encoded(stored, "JPEG", quality=95, exif=exif, **options)


def smooth(width: int, height: int) -> np.ndarray:
    """A picture with something everywhere, none of it finer than 200 pixels."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 37 + y / 43), np.cos(x / 31 - y / 71), np.sin(y / 41) * np.cos(x / 61)]
    return np.rint(127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [
        ((400, 320), (25, 20), (50, 40)),
        ((400, 320), (26, 20), (100, 80)),
        ((400, 320), (25, 21), (100, 80)),
        ((400, 320), (100, 20), (200, 160)),
        ((400, 320), (101, 20), (400, 320)),
        ((400, 320), (800, 20), (400, 320)),
        ((403, 321), (25, 20), (50, 40)),
        ((407, 327), (100, 80), (204, 164)),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_decoded_smaller_but_never_below_twice_what_is_needed(
    size: tuple[int, int], least: tuple[int, int], expected: tuple[int, int], orientation: int
) -> None:
    photo = smooth(*size)
    data = turned(photo, orientation)
    picture = read_picture(data, least=least)
    assert (picture.size, picture.mode, picture.info) == (expected, "RGB", {})
    assert (read_picture(data).size, size_of(data)) == (size, size)
    small = least if max(least) <= 200 else (100, 80)
    for how in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        whole, quick = (np.asarray(each.resize(small, how)).astype(int) for each in (read_picture(data), picture))
        assert np.abs(whole - quick).max() <= 3


def test_only_jpegs_are_decoded_smaller() -> None:
    for kind in ("PNG", "WEBP", "TIFF", "BMP"):
        assert read_picture(encoded(Image.fromarray(PHOTO), kind), least=(2, 2)).size == (96, 64)
    assert read_picture(Image.fromarray(PHOTO), least=(2, 2)).size == (96, 64)
    for mode in ("L", "CMYK"):
        data = encoded(Image.fromarray(PHOTO).convert(mode), "JPEG")
        assert (read_picture(data, least=(6, 4)).size, read_picture(data, least=(6, 4)).mode) == ((12, 8), "RGB")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        data = encoded(Image.fromarray(PIXELS), kind, exif=exif)
        path = tmp_path / f"picture.{kind}"
        path.write_bytes(data)
        assert size_of(data) == size_of(path) == read_picture(data).size == ((5, 7) if orientation > 4 else (7, 5))
        if kind == "PNG":
            at = data.index(b"eXIf") - 4
            length = 12 + struct.unpack_from(">I", data, at)[0]
            behind = data[:at] + data[at + length : -12] + data[at : at + length] + data[-12:]
            assert size_of(behind) == read_picture(behind).size == size_of(data)


def test_the_size_of_other_files_and_of_none(tmp_path: Path) -> None:
    for kind in ("GIF", "BMP", "PPM"):
        assert size_of(encoded(Image.fromarray(PIXELS), kind)) == (7, 5)
    assert size_of(encoded(Image.fromarray(PIXELS), "PNG")[:60]) == (7, 5)
    for data, told in ((b"", "empty, 0 bytes"), (b"text", "no picture"), (png_claiming(20_000, 20_000), "20000 x 2")):
        for read in (size_of, read_picture):
            with pytest.raises(PictureError, match=f"shelf/a.jpg.*{told}"):
                read(data, name="shelf/a.jpg")
    with pytest.raises(PictureError, match="shelf/a.jpg does not exist"):
        size_of(tmp_path / "none.jpg", name="shelf/a.jpg")
    with pytest.raises(PictureError, match="100 x 100 pixels"):
        read_picture(encoded(Image.new("RGB", (100, 100)), "JPEG"), least=(2, 2), max_pixels=9_999)


def test_what_is_broken_is_broken_at_any_scale() -> None:
    data = encoded(Image.fromarray(RNG.integers(0, 256, (400, 400, 3), dtype=np.uint8)), "JPEG")
    refused(data[: len(data) // 2], "a.jpg is broken or cut short", name="a.jpg", least=(20, 20))
    refused(PIXELS[..., :2], "a.jpg is no picture", name="a.jpg")
