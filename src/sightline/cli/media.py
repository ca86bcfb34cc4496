"""What isn't a picture: videos and volumes, told by how their names end, explained and written."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from sightline.cli.progress import watching
from sightline.errors import ModelError

if TYPE_CHECKING:
    from sightline.cli.explain import How
    from sightline.model import Model


def are_volumes(paths: list[Path]) -> bool:
    """Whether all are volumes, of which no picture's preprocessing is true."""
    return bool(paths) and all(map(_is_volume, paths))


def is_media(path: str | Path) -> bool:
    """Whether a file's name ends as a video's or a volume's does."""
    return _is_clip(path) or _is_volume(path)


def explain_media(
    model: "Model", path: Path, how: "How", scale: str, out: Path, console: Console, taken: set[str]
) -> list[dict[str, Any]]:
    """Explain a video or a volume and write what was found to a folder; a row of facts for each target.

    A video becomes a video, a sheet of frames and the raw map; a volume a sheet of slices and the map in voxels.
    `taken` are the names of files written before, which aren't used again.
    Raises PictureError, TargetError, LayerError, MethodError and ModelError.
    """
    explained = _explained_clip if _is_clip(path) else partial(_explained_volume, scale=scale)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with watching(console) as (bars, _):
            return explained(model, path, how, out, _bar(bars), console, taken)
    except OSError as error:
        raise ModelError(f"{out} can't be written to ({error}); choose another folder with --out") from error


Bar = Callable[[str], Callable[[int, int], None]]
"""What is done, in words -> what to tell how far it is."""


def _explained_clip(
    model: "Model", path: Path, how: "How", out: Path, bar: Bar, console: Console, taken: set[str]
) -> list[dict[str, Any]]:
    import numpy as np

    from sightline.clips import explain_clip
    from sightline.video import read_clip

    clip = read_clip(path)
    if clip.broken:
        _note(console, clip.broken)
    if clip.frames < model.frames:
        _note(console, f"{model.name} takes {model.frames} frames and the video has {clip.frames}: some are seen twice")
    why = explain_clip(
        model, clip, _asked(how), question=how.question, text=how.text, layer=how.layer, method=how.method,
        seed=how.seed, progress=bar("explaining"),
    )  # fmt: skip
    rows = []
    for k, base in enumerate(_bases(path, why, out, taken)):
        files = [base.with_name(base.name + ending) for ending in (".mp4", ".png", ".npy")]
        why.write(files[0], k, progress=bar(f"writing {files[0].name}"))
        why.figure(k).save(files[1], compress_level=1)
        np.save(files[2], why.maps[k].numpy())
        rows.append(why.facts(k) | {"files": [str(file) for file in files]})
    if clip.sound:
        _note(console, "the sound is left out")
    return rows


def _explained_volume(
    model: "Model", path: Path, how: "How", out: Path, bar: Bar, console: Console, taken: set[str], *, scale: str
) -> list[dict[str, Any]]:
    from sightline.volumes import explain_volume, read_volume

    volume = read_volume(path)
    if how.question or how.text:
        raise ModelError("of a volume nothing is asked in words; leave --question and --text out")
    why = explain_volume(
        model, volume, _asked(how), layer=how.layer, method=how.method, scale=scale, seed=how.seed,
        progress=bar(how.method),
    )  # fmt: skip
    _note(console, f"the model saw the voxels, {' x '.join(map(str, volume.size))}, with their values {scale}")
    rows = []
    for k, base in enumerate(_bases(path, why, out, taken)):
        files = [
            base.with_name(base.name + ending) for ending in (".png", ".npy" if volume.affine is None else ".nii.gz")
        ]
        why.figure(k).save(files[0], compress_level=1)
        why.write(files[1], k)
        rows.append(why.facts(k) | {"files": [str(file) for file in files]})
    return rows


def _asked(how: "How") -> Any:
    """One target, several, or None."""
    return None if not how.target else how.target[0] if len(how.target) == 1 else how.target


def _bases(path: Path, why: Any, out: Path, taken: set[str]) -> list[Path]:
    """Where each target's files go, without their endings: `clip-CLASS-METHOD`."""
    from sightline.cli.explain import slug, unused
    from sightline.explainer import AS_ASKED

    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    named = f"-{slug(why.layer)}" if why.layer_why == AS_ASKED else ""
    return [out / unused(f"{stem}-{slug(asked.name)}-{slug(why.method)}{named}", taken) for asked in why.asked]


def _bar(bars: Progress) -> Bar:
    def begin(words: str) -> Callable[[int, int], None]:
        task = bars.add_task(escape(words), visible=False)

        def tell(done: int, of: int) -> None:
            bars.start()
            bars.update(task, completed=done, total=of, visible=done < of)

        return tell

    return begin


def _note(console: Console, words: str) -> None:
    console.print(f"[yellow]note:[/] {escape(words)}", highlight=False, soft_wrap=True)


def _is_clip(path: str | Path) -> bool:
    from sightline.video import SUFFIXES

    return Path(path).name.lower().endswith(SUFFIXES)


def _is_volume(path: str | Path) -> bool:
    from sightline.volumes import VOLUME_SUFFIXES

    return Path(path).name.lower().endswith(VOLUME_SUFFIXES)
