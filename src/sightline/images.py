"""Bytes to picture: what people have lying about becomes an upright RGB image, or one line says why not.

Pillow's plugins are called directly, by a file's first bytes: no other format is ever tried, and
`Image.open`'s check of the size, which warns, is replaced by ours, which refuses.
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.errors import PictureError

PictureLike = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]

MOST_PIXELS = 100_000_000

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm")

_EXPECTED = "a JPEG, PNG, WebP, TIFF, GIF, BMP or PPM picture"
_ORIENTATION = 0x0112
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_Turn = Image.Transpose
_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}


def read_picture(
    source: PictureLike,
    *,
    max_pixels: int = MOST_PIXELS,
    name: str | None = None,
    least: tuple[int, int] | None = None,
) -> Image.Image:
    """The picture as an RGB image: first frame, upright (EXIF), transparency over white, fully in memory.

    `source` is a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4),
    uint8 or float in [0, 1]. 16-bit grey is scaled so that 65535 is white; a floating-point file's
    white is the smallest of 1, 255 and 65535 that holds its values. `name` is what errors call it.

    `least` (width, height) is the size that the picture will be shrunk to: a JPEG file that is larger is
    decoded at 1/2, 1/4 or 1/8 of its size, which takes less time, but never below twice `least` on either
    side. `size_of` tells the size that it has.

    Raises PictureError, in one line, for whatever can't be read, is cut short, or has more than
    `max_pixels` pixels (which is known, and refused, before anything is decoded).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name, max_pixels)
    if isinstance(source, Image.Image):
        name = name or "the image given"
        _check_size(source.size, name, max_pixels)
        return _finished(source, name)
    with _file(source, name) as (file, called):
        image = _opened(file, called, max_pixels)
        if least is not None and isinstance(image, _Jpeg):
            with _readable(called):
                image = _drafted(image, least[::-1] if _lies(image) else least)
        return _finished(image, called)


def size_of(
    source: str | os.PathLike[str] | bytes, *, max_pixels: int = MOST_PIXELS, name: str | None = None
) -> tuple[int, int]:
    """The width and height of the picture in a file, upright (EXIF), of which no pixel is decoded.

    Raises PictureError for what `read_picture` would refuse by its header.
    """
    with _file(source, name) as (file, called):
        image = _opened(file, called, max_pixels)
        with _readable(called):
            size = (image.tag_v2[256], image.tag_v2[257]) if isinstance(image, _Tiff) else image.size
            return size[::-1] if _lies(image) else size


def pictures_in(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures a path stands for, sorted: a file itself, all in a folder and below, or a glob's matches.

    In folders and globs only files with one of PICTURE_SUFFIXES count, hidden ones do not. Raises
    PictureError when that leaves none.
    """
    given = Path(path)
    name = _shown(given)
    try:
        if given.is_file():
            return [given]
        here, pattern = Path(given.anchor or "."), str(given.relative_to(given.anchor))
        below = given.rglob("*") if given.is_dir() else here.glob(pattern)
        found = sorted(each for each in below if _is_visible_picture(each, given))
    except (OSError, ValueError, NotImplementedError) as error:
        raise PictureError(
            f"{name} can't be searched ({_reason(error)}); expected a file, a folder or a pattern such as photos/*.jpg"
        ) from error
    if not found:
        what = "holds no picture" if given.is_dir() else "is no file and matches none"
        raise PictureError(
            f"{name} {what}; expected a file, or a folder or pattern with files ending in {', '.join(PICTURE_SUFFIXES)}"
        )
    return found


class _Jpeg(JpegImageFile):
    def getexif(self) -> Image.Exif:
        """Nothing: the plugin asks only for the resolution, and warns when the EXIF block is broken."""
        return Image.Exif()


class _Tiff(TiffImageFile):
    def _open(self) -> None:
        """Refuse a file cut short inside its directory, at which the plugin would warn and then guess."""
        assert self.fp is not None
        order = "<" if self.fp.read(2) == b"II" else ">"
        end = self.fp.seek(0, os.SEEK_END)
        self.fp.seek(4)
        self.fp.seek(struct.unpack(order + "I", self.fp.read(4))[0])
        entries = struct.unpack(order + "H", self.fp.read(2))[0]
        fields = struct.unpack(order + "HHII" * entries + "I", self.fp.read(12 * entries + 4))
        for kind, count, start in zip(fields[1::4], fields[2::4], fields[3::4], strict=True):
            if count * _TIFF_BYTES.get(kind, 0) > max(4, end - start):
                raise OSError("its directory points beyond the end")
        self.fp.seek(0)
        super()._open()

    def getexif(self) -> Image.Exif:
        """Only what turns the picture upright while it loads; broken tags beside it stay unread."""
        exif = Image.Exif()
        exif[_ORIENTATION] = self.tag_v2.get(_ORIENTATION, 1)
        return exif

    def load_prepare(self) -> None:
        """Make the room before the plugin does: it would repeat Pillow's size check, which warns."""
        self.im = Image.new(self.mode, (self.tag_v2[256], self.tag_v2[257])).im
        super().load_prepare()


_FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[IO[bytes]], Image.Image]], ...] = (
    ((b"\xff\xd8\xff",), _Jpeg),
    ((b"\x89PNG\r\n\x1a\n",), PngImageFile),
    ((b"RIFF",), WebPImageFile),
    ((b"II*\0", b"MM\0*"), _Tiff),
    ((b"GIF8",), GifImageFile),
    ((b"BM",), BmpImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), PpmImageFile),
)


@contextmanager
def _file(source: str | os.PathLike[str] | bytes, name: str | None) -> Iterator[tuple[IO[bytes], str]]:
    """The opened file of a path or of bytes, and what errors call it."""
    if isinstance(source, bytes):
        yield BytesIO(source), name or "the data given"
        return
    if not isinstance(source, str | os.PathLike):
        raise PictureError(f"{type(source).__name__}: expected a path, file bytes, a PIL image or an array")
    path = Path(os.fsdecode(source))
    name = name or _shown(path)
    try:
        with _regular(path, name).open("rb") as file:
            yield file, name
    except (OSError, ValueError) as error:
        raise PictureError(
            f"{name} can't be opened ({_reason(error)}); expected {_EXPECTED}; check the path and its permissions"
        ) from error


def _regular(path: Path, name: str) -> Path:
    """The path, if it is a regular file that is there; anything else (a device, a pipe) may never end."""
    if path.is_file():
        return path
    what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
    raise PictureError(f"{name} {what}; expected {_EXPECTED}; check the path")


def _opened(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """The image of a file, its header read and its size found to be allowed."""
    head = file.read(16)
    if not head:
        raise PictureError(f"{name}: empty, 0 bytes; expected {_EXPECTED}; copy or download it again")
    for signatures, plugin in _FORMATS:
        if head.startswith(signatures):
            file.seek(0)
            with _readable(name):
                image = plugin(file)
            _check_size(image.size, name, max_pixels)
            return image
    raise PictureError(
        f"{name} is no picture that can be read: it begins with {head!r}; "
        f"expected {_EXPECTED}; convert it to PNG or JPEG"
    )


def _drafted(image: _Jpeg, least: tuple[int, int]) -> Image.Image:
    """The image, its header read, decoded at the smallest scale that leaves twice as many pixels as `least`.

    The last column and row of a size that the scale doesn't divide stand for less than the others, but are as
    wide: without the resize the picture would be stretched by up to a pixel.
    """
    drafted = image.draft(None, (2 * least[0], 2 * least[1]))
    if drafted is None:
        return image
    image.load()
    _, (_, _, across, down) = drafted
    if (across, down) == image.size:
        return image
    return image.resize((round(across), round(down)), Image.Resampling.BILINEAR, box=(0, 0, across, down))


def _lies(image: Image.Image) -> bool:
    """Whether an image whose header is read is stored on its side."""
    match image:
        case _Tiff():
            orientation = image.getexif()[_ORIENTATION]
        case PngImageFile():
            orientation = _orientation(image.info.get("exif") or _exif_behind(image.fp))
        case _:
            orientation = _orientation(image.info.get("exif", b""))
    return orientation in (5, 6, 7, 8)


def _exif_behind(file: IO[bytes] | None) -> bytes:
    """The EXIF block of a PNG file, which may stand behind the pixels."""
    assert file is not None
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)
    return b""


def _finished(image: Image.Image, name: str) -> Image.Image:
    """An image whose header is known -> the RGB picture."""
    with _readable(name):
        image.load()
        upright = _UPRIGHT.get(_orientation(image.info.get("exif", b"")))
        turned = image if upright is None else image.transpose(upright)
        deep = image.mode == "F" or image.mode.startswith("I")
        picture = _grey_to_rgb(np.asarray(turned), name) if deep else _opaque(turned)
        picture.info = {}  # EXIF read twice would turn the picture twice
    return picture


def _opaque(image: Image.Image) -> Image.Image:
    """Any 8-bit or 1-bit mode -> RGB, see-through parts over white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(layer, mask=layer.getchannel("A"))
    return white


def _grey_to_rgb(values: np.ndarray[Any, Any], name: str) -> Image.Image:
    """Deep grey (H, W), integer or float, all in [0, 65535] -> RGB, rounded to the nearest of 256 levels."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 65535):
        raise PictureError(f"{name} has grey values from {low:g} to {high:g}; expected 0 to 65535")
    whites = (1, 255, 65535) if values.dtype.kind == "f" else (65535,)
    scale = np.float32(255 / next(white for white in whites if high <= white))
    return Image.fromarray(np.rint(values * scale).astype(np.uint8)).convert("RGB")


def _from_array(array: np.ndarray[Any, Any], name: str | None, max_pixels: int) -> Image.Image:
    given = name or f"an array {array.shape} of {array.dtype}"
    expected = "expected (height, width), (height, width, 3) or (height, width, 4), uint8 or float in [0, 1]"
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not shaped or 0 in array.shape or (array.dtype != np.uint8 and array.dtype.kind != "f"):
        raise PictureError(f"{given} is no picture; {expected}; reshape or rescale it first")
    _check_size((array.shape[1], array.shape[0]), given, max_pixels)
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise PictureError(f"{given} has values from {low:g} to {high:g}; {expected}; rescale it")
        array = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    return _opaque(Image.fromarray(array))


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    if not 0 < size[0] * size[1] <= max_pixels:
        raise PictureError(
            f"{name} has {size[0]} x {size[1]} pixels; expected 1 to {max_pixels:,} in all; "
            "shrink it, or raise max_pixels if you trust it"
        )


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 where it can't be read. Pillow's reader warns about broken blocks."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        entries = struct.unpack_from(order + "H", tiff, start)[0]
        fields = struct.unpack_from(order + "HHIHxx" * entries, tiff, start + 2)
    except struct.error:
        return 1
    return int(dict(zip(fields[::4], fields[3::4], strict=True)).get(_ORIENTATION, 1))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever a plugin raises on a broken file (there is no end of kinds) becomes a PictureError."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except Exception as error:
        raise PictureError(
            f"{name} is broken or cut short ({_reason(error)}); expected {_EXPECTED}; copy or download it again"
        ) from error


def _is_visible_picture(path: Path, root: Path) -> bool:
    below = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    hidden = any(part.startswith(".") for part in below)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file()


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _shown(path: Path) -> str:
    """The path on one line, whatever characters it has."""
    return str(path) if str(path).isprintable() else repr(str(path))
