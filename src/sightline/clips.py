"""Clips: what a model saw in a video's frames, laid over them, as a video again.

A model of clips sees some of the frames at once, as an image (C, T, H, W); a model of pictures sees each frame
alone. Either way the colours mean the same in every frame: a map is never stretched to its own frame's maximum.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sightline import engine, regions
from sightline.ask import ask
from sightline.asking import Progress
from sightline.errors import ModelError, TargetError
from sightline.explainer import (
    explained,
    layers_of,
    of_all,
    of_one,
    probabilities_of,
    shares_of,
)
from sightline.explanation import Explanation, is_fine
from sightline.geometry import Framing
from sightline.layers import LayerLike
from sightline.methods import method as method_of
from sightline.methods.grids import resized
from sightline.model import Model, Task
from sightline.origin import Origin, Several
from sightline.render import EVIDENCE, SIGNED, Tile, overlay, sheet
from sightline.targets import Asked, TargetLike, logits, probabilities
from sightline.types import Method
from sightline.video import Clip, read_clip, write_video

SHOWN = 8  # frames on a sheet
FINE_SHARE = 0.99  # of a fine map's values lie below the last colour


@dataclass(frozen=True, kw_only=True)
class ClipExplanation(Several):
    """For this clip, this model and these K targets, at this layer, by this method, the maps are ...

    `maps` (K, t, h, w) are raw, at the layer's resolution, their t cells spread evenly over the clip: for a model of
    pictures one for each frame. `seen` are the frames that the model saw, counted from 0; `scores` (K rows) what
    was scored, the clip or each of its frames, and `probabilities` (K,) the classes', over frames the mean.
    """

    clip: Clip
    framing: Framing
    maps: Tensor = field(repr=False)
    seen: tuple[int, ...] = field(repr=False)
    scores: tuple[tuple[float, ...], ...] = field(repr=False)

    @cached_property
    def _by_frame(self) -> Tensor:
        """Maps (K, frames, h, w), linear between the cells in time."""
        return resized(self.maps[None], (self.clip.frames, *self.maps.shape[2:]))[0]

    @cached_property
    def _scales(self) -> list[tuple[float, float, bool]]:
        """For each target, over the whole clip: the value without colour, the one with the last, and whether fine."""
        found = []
        for each in self.maps:
            lowest = 0.0 if self.signed else max(float(each.min()), 0.0)
            values = (each - lowest).abs() if self.signed else (each - lowest).clamp(min=0)
            fine = is_fine(each, self.framing.image[0])
            some = values.flatten()[:: max(1, values.numel() // 2**20)]
            last = float(torch.quantile(some, FINE_SHARE)) if fine else 0.0
            found.append((lowest, last or float(values.max()), fine))
        return found

    def heat(self, frame: int, target: int = 0) -> regions.Heat:
        """A target's map in a frame's pixels (height, width), NaN where the model could not look."""
        return np.asarray(self.framing.to_picture(self._by_frame[target, frame]).numpy())

    def peak(self, target: int = 0) -> tuple[int, int, int] | None:
        """The frame, and its pixel (x, y), where the map is highest; None where it is nowhere above zero."""
        frame = int(self._by_frame[target].flatten(1).amax(1).argmax())
        at = regions.peak(self.heat(frame, target))
        return None if at is None else (frame, *at)

    def overlay(self, picture: Image.Image, frame: int, target: int = 0, *, opacity: float = 0.7) -> Image.Image:
        """The map of a frame over its picture, in colours that mean the same in every frame of the clip."""
        lowest, last, fine = self._scales[target]
        heat = self.heat(frame, target) - lowest
        return overlay(picture, heat, opacity=opacity, signed=self.signed, peak=last, fine=fine)

    def write(self, file: str | os.PathLike[str], target: int = 0, *, progress: Progress | None = None) -> Path:
        """The clip with the map laid over each frame, as an H.264 video of its size and rate, without its sound.

        `progress` is told how many frames are done, of how many. Raises PictureError where a file can't be written.
        """
        file = Path(file)
        shown = (self.overlay(picture, at, target) for at, picture in enumerate(self.clip))
        write_video(file, shown, self.clip.rate, frames=self.clip.frames, progress=progress)
        return file

    def figure(self, target: int = 0, *, count: int = SHOWN) -> Image.Image:
        """A sheet of some frames, spread evenly over the clip, with the map laid over them."""
        places = set(spread(min(count, self.clip.frames), self.clip.frames))
        tiles = []
        for at, picture in enumerate(self.clip):
            if at in places:
                told = self.scores[target]
                note = f"score {told[at]:.2f}" if len(told) == self.clip.frames > 1 else ""
                when = f"{float(at / self.clip.rate):.2f} s, frame {at}"
                tiles.append(Tile(self.overlay(picture, at, target), when, note))
        columns = min(4, len(tiles))
        return sheet(tiles, columns=columns, title=self.title(target), bar=SIGNED if self.signed else EVIDENCE)

    def facts(self, target: int = 0) -> dict[str, Any]:
        """One target's explanation as JSON values; `peak` is [x, y] in the frame `peak_frame`."""
        peak, scores = self.peak(target), self.scores[target]
        return {
            "picture": str(self.clip.path),
            "score": sum(scores) / len(scores),
            "scores": list(scores),
            **self.told(target),
            "peak": None if peak is None else list(peak[1:]),
            "peak_frame": None if peak is None else peak[0],
            "frames": self.clip.frames,
            "rate": float(self.clip.rate),
            "size": list(self.clip.size),
            "seen": list(self.seen),
            "broken": self.clip.broken,
        }

    def save(self, folder: str | os.PathLike[str], *, progress: Progress | None = None) -> list[Path]:
        """Write `explanation.json`, `maps.npy` (raw), and a sheet and a video for each target, to a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "explanation.json", folder / "maps.npy"]
        files[0].write_text(json.dumps([self.facts(k) for k in range(len(self))], indent=2), encoding="utf-8")
        np.save(files[1], self.maps.numpy())
        for k in range(len(self)):
            files.append(folder / f"figure-{k}.png")
            self.figure(k).save(files[-1], compress_level=1)
            files.append(self.write(folder / f"overlay-{k}.mp4", k, progress=progress))
        return files


def explain_clip(
    model: Model,
    clip: Clip | str | os.PathLike[str],
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
    progress: Progress | None = None,
) -> ClipExplanation:
    """Explain a video: as one clip where the model takes clips (`model.frames`), else frame by frame.

    A model of clips sees its number of frames, the middle ones of as many equal parts of the whole video. For a model
    of pictures, None is the class that is most probable over all frames, and `top:N` so many of them: every
    frame is asked about the same, with the `question` and the `text` that explain takes. A list of targets means
    several. `seed` is each frame's, so that what methods draw
    doesn't flicker. `progress` is told how many frames are done, of how many.
    Raises PictureError, TargetError, LayerError, MethodError and ModelError.
    """
    if not isinstance(model, Model):
        raise ModelError(f"a sightline.Model is expected, got {type(model).__name__}; make one with sightline.wrap")
    read = clip if isinstance(clip, Clip) else read_clip(clip)
    rule = method_of(method)
    if model.frames:
        if question or text:
            raise ModelError(f"{model.name} sees clips and answers nothing in words; leave the question out")
        return _as_one(model, read, target, layer, rule, seed, progress)
    return _by_frames(
        model, read, target, partial(explained, question=question, text=text, layers=layer), rule, seed, progress
    )


def spread(count: int, frames: int) -> list[int]:
    """The middle frames of `count` equal parts of so many frames; some more than once where there are too few."""
    return [(2 * part + 1) * frames // (2 * count) for part in range(count)]


def _as_one(
    model: Model, clip: Clip, target: TargetLike, layer: LayerLike | None, rule: Method, seed: int,
    progress: Progress | None,
) -> ClipExplanation:  # fmt: skip
    seen = spread(model.frames, clip.frames)
    kept: dict[int, Tensor] = {}
    for at, picture in enumerate(clip):
        if at in seen:
            kept[at] = model.preprocess(picture)
    image = torch.stack([kept[at] for at in seen], 1)[None].to(model.like)
    asking = of_all(of_one(target), model, 1)
    layers, why = layers_of(model, image, layer) if rule.layered else ([], "")
    result = ask(model.module, image, asking, layers, [rule], seed=seed, progress=lambda _: progress)
    found = result.found[0]
    shares = shares_of(model, result)
    asked = tuple(result.asked[0])
    return ClipExplanation(
        clip=clip,
        framing=model.preprocess.framing(clip.size),
        maps=found.maps[0].float().cpu(),
        seen=tuple(seen),
        asked=asked,
        scores=tuple((score,) for score in result.scores[0].tolist()),
        probabilities=probabilities_of(shares, asked, 0),
        **Origin.of(model, found, why, seed).origin,
    )


def _by_frames(
    model: Model, clip: Clip, target: TargetLike, explained: Callable[..., list[list[Explanation]]], rule: Method,
    seed: int, progress: Progress | None,
) -> ClipExplanation:  # fmt: skip
    asked = _same_for_all(model, clip, target)
    one: Explanation | None = None
    maps: list[Tensor] = []
    questions, scores, shares = [], [], []
    for pictures in clip.batches():
        of_each = [asked] * len(pictures) if isinstance(asked, list) else asked
        try:
            found = explained(model, pictures, of_each, methods=[rule], seed=seed)
        except TargetError as error:
            raise TargetError(f"in frames {len(maps)} to {len(maps) + len(pictures) - 1}: {error}") from error
        for (one,) in found:
            maps.append(one.maps)
            questions.append(one.asked)
            scores.append(one.scores)
            shares.append(one.probabilities)
        if progress is not None:
            progress(len(maps), clip.frames)
    assert one is not None
    other = next((at for at, each in enumerate(questions) if _named(each) != _named(questions[0])), None)
    if other is not None:
        raise TargetError(
            f"the frames don't all answer the same: {_named(questions[0])} in the first, {_named(questions[other])} in "
            f"frame {other}; name what is asked of all of them"
        )
    return ClipExplanation(
        clip=clip,
        framing=one.framing,
        maps=torch.stack(maps, 1),
        seen=tuple(range(clip.frames)),
        asked=tuple(replace(each, box=None) for each in questions[0]),  # a box is another in each frame
        scores=tuple(zip(*scores, strict=True)),
        probabilities=tuple(None if None in each else sum(each) / len(each) for each in zip(*shares, strict=True)),
        **one.origin,
    )


def _named(asked: Sequence[Asked]) -> str:
    return ", ".join(each.name for each in asked)


def _same_for_all(model: Model, clip: Clip, target: TargetLike) -> Any:
    """What every frame is asked: a callable, or a list of targets of which none depends on the frame."""
    best = 1 if target is None else int(target[4:]) if isinstance(target, str) and target.startswith("top:") else 0
    if not best or model.task is not Task.CLASSES:
        if target is None or isinstance(target, str | int) or callable(target):
            return target if callable(target) else None if target is None else [target]
        return list(target)
    total: Tensor | float = 0.0
    for pictures in clip.batches():
        image = torch.stack([model.preprocess(picture) for picture in pictures]).to(model.like)
        output = logits(engine.answered(model.module, image))
        total = total + probabilities(output, multi_label=model.multi_label).sum(0)
    return torch.as_tensor(total).topk(min(best, len(torch.as_tensor(total)))).indices.tolist()
