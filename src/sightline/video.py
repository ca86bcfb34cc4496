"""Video files: their frames, read one by one, and a video again. The only file that knows PyAV (extra `video`)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from sightline.errors import ModelError, PictureError, first_line

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".ts", ".ogv", ".3gp")
AT_ONCE = 16  # frames
MISSED = 1.0  # seconds at the end, where a file that isn't broken may hold sound alone

_EXPECTED = "a video such as MP4, MOV, MKV, WebM or AVI"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file: `frames` frames of `size` (width, height) at `rate` a second, and whether there is `sound`.

    `broken` says why it ends early, where it does.
    """

    path: Path
    frames: int
    size: tuple[int, int]
    rate: Fraction
    sound: bool = False
    broken: str = ""

    def __iter__(self) -> Iterator[Image.Image]:
        """The frames, upright, as RGB pictures, one by one."""
        with _readable(self.path):
            for frame in islice(_decoded(self.path), self.frames):
                picture = _upright(frame)
                yield picture if picture.size == self.size else picture.resize(self.size)

    def batches(self) -> Iterator[list[Image.Image]]:
        """The frames, some at once."""
        frames = iter(self)
        while some := list(islice(frames, AT_ONCE)):
            yield some

    @property
    def seconds(self) -> float:
        return float(self.frames / self.rate)


def read_clip(path: str | os.PathLike[str]) -> Clip:
    """What a video file holds; all of it is decoded once, to know how many frames can be read.

    A file that breaks off keeps the frames before that, and says so in `broken`. Raises PictureError, in one line,
    where not one frame can be read, and ModelError without the extra `video`.
    """
    path = Path(path)
    av = _av()
    with _readable(path), av.open(os.fspath(path)) as container:
        stream, sound = _video_of(container, path), bool(container.streams.audio)
        rate, promised = Fraction(stream.average_rate or stream.guessed_rate or 25), stream.frames
        of_stream = None if stream.duration is None else stream.duration * stream.time_base
        lasts = float(of_stream if of_stream is not None else (container.duration or 0) / av.time_base)
    frames, size, ends, broken = 0, (0, 0), 0.0, ""
    with _readable(path):
        try:
            for frame in _decoded(path):
                size = size if frames else _upright(frame).size
                frames += 1
                ends = float(frames / rate if frame.time is None else frame.time + 1 / rate)
        except av.FFmpegError as error:
            if not frames:
                raise
            broken = _reason(error)
    if not frames:
        raise PictureError(f"{path} holds no frame that can be read; expected {_EXPECTED}; copy or download it again")
    if not broken and promised > frames:
        broken = f"it says that it has {promised} frames"
    elif not broken and lasts - ends > max(MISSED, float(2 / rate)):
        broken = f"it says that it lasts {lasts:.1f} s"
    said = f"{path} breaks off after {frames} frames ({broken}); those before are kept" if broken else ""
    return Clip(path, frames, size, rate, sound, said)


def write_video(
    file: Path,
    pictures: Iterator[Image.Image],
    rate: Fraction,
    *,
    frames: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Pictures of one size as an H.264 video at a constant rate; the file is there when all were written.

    Raises PictureError where it can't be written, and ModelError without the extra `video`.
    """
    av = _av()
    part = file.with_name(f"{file.stem}.part{file.suffix or '.mp4'}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with av.open(os.fspath(part), "w") as container:
            stream = None
            for done, picture in enumerate(pictures, 1):
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
                    stream.width, stream.height = picture.size
                    odd = picture.width % 2 or picture.height % 2
                    stream.pix_fmt = "yuv444p" if odd else "yuv420p"  # the latter halves both sides
                container.mux(stream.encode(av.VideoFrame.from_image(picture.convert("RGB"))))
                if progress is not None:
                    progress(done, frames or done)
            if stream is not None:
                container.mux(stream.encode())
        part.replace(file)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(f"{file} can't be written ({_reason(error)}); name a file ending in .mp4") from error
    finally:
        part.unlink(missing_ok=True)


def _av() -> Any:
    """PyAV. Raises ModelError where it isn't installed."""
    try:
        import av
    except ImportError as error:
        raise ModelError(f"videos need PyAV ({first_line(error)}); pip install 'sightline[video]'") from error
    return av


def _video_of(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise PictureError(f"{path} holds no video, only sound or text; expected {_EXPECTED}")
    return container.streams.video[0]


def _decoded(path: Path) -> Iterator[Any]:
    """The frames of a file's first video, as PyAV gives them; at a break those that the decoder still holds, too."""
    av = _av()
    with av.open(os.fspath(path)) as container:
        stream = _video_of(container, path)
        try:
            for packet in container.demux(stream):
                yield from packet.decode()
        except av.FFmpegError:
            with suppress(av.FFmpegError):
                yield from stream.codec_context.decode(None)
            raise


def _upright(frame: Any) -> Image.Image:
    """A frame as an RGB picture, turned as the camera says."""
    picture: Image.Image = frame.to_image()
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    turn = turns.get(round(getattr(frame, "rotation", 0)) % 360)
    return picture if turn is None else picture.transpose(turn)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever FFmpeg says of a file that it can't read becomes a PictureError."""
    if not path.is_file():
        raise PictureError(f"{path} is no file; expected {_EXPECTED}; check the path")
    try:
        yield
    except (_av().FFmpegError, OSError) as error:
        raise PictureError(
            f"{path} can't be read as a video ({_reason(error)}); expected {_EXPECTED}; copy or download it again"
        ) from error


def _reason(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or first_line(error)).split())
