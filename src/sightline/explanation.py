"""An explanation: raw maps with the whole question they answer, shown in the picture's own pixels."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sightline import regions
from sightline.checks import Claim, Verdict
from sightline.errors import ModelError, PictureError, TargetError
from sightline.geometry import Box, Framing
from sightline.origin import Origin
from sightline.render import EVIDENCE, SIGNED, Tile, captioned, outlined, overlay, sheet
from sightline.targets import Asked

ASKED = (94, 214, 255)  # the colour of what was asked about
FINE_STEP = 0.25  # from pixel to pixel, as a share of the mean value


@dataclass(frozen=True, slots=True)
class Prediction:
    """One of the model's best classes for a picture."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Explanation(Origin):
    """For this picture, this model and these K targets, at this layer, by this method, the maps are ...

    `maps` (K, h, w) are raw, at the layer's resolution; `scores` (K,) are what the maps explain,
    `probabilities` the classes', words' or boxes' (None where a target has none). `question` is what the model was
    asked in words, `said` what it says itself: an answer, a caption, the boxes or the regions that it sees.
    `claim` leads back to the model, which isn't saved.
    """

    picture: Image.Image = field(repr=False)
    framing: Framing
    maps: Tensor = field(repr=False)
    asked: tuple[Asked, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float | None, ...]
    predictions: tuple[Prediction, ...]
    path: str | None = None
    question: str | None = None
    said: str = ""
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    claim: Callable[[Asked], Claim] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but the way back to the model, as where it is saved."""
        return vars(self) | {"claim": None}

    def __len__(self) -> int:
        return len(self.asked)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, target: int | str) -> Self:
        """The explanation of one target, by its place, its name, or what was asked (`not:NAME`, `NAME-vs:NAME`, ...).

        Raises TargetError where no target, or several, have the name.
        """
        if isinstance(target, str):
            typed = [i for i, asked in enumerate(self.asked) if asked.text and asked.text == target.strip()]
            if len(typed) == 1:
                return self[typed[0]]
            text = " ".join(target.casefold().split()).replace("-vs:", " and not ")
            text = f"against {text[4:]}" if text.startswith("not:") else text
            text = f"{text[6:]}, finer" if text.startswith("finer:") else text
            names = [asked.name.casefold() for asked in self.asked]
            found = [i for i, name in enumerate(names) if name == text] or [
                i
                for i, name in enumerate(names)
                if set(text.split()) <= set(name.partition(" and not ")[0].split())
                and name.startswith("against ") == text.startswith("against ")
            ]
            if len(found) != 1:
                raise TargetError(f"{target!r} fits {len(found)} of the targets asked: {self._names()}")
            target = found[0]
        if not -len(self) <= target < len(self):
            raise TargetError(f"no target {target}: {len(self)} were asked, {self._names()}")
        part = slice(target, target + 1) if target != -1 else slice(-1, None)
        return replace(
            self, maps=self.maps[part], asked=self.asked[part], scores=self.scores[part],
            probabilities=self.probabilities[part],
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The one target's name."""
        return self.asked[self._one()].name

    @property
    def heat(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The one map in the picture's pixels (height, width), bilinear; NaN where the model could not look."""
        return np.asarray(self.framing.to_picture(self.maps[self._one()]).numpy())

    @property
    def fine(self) -> bool:
        """Whether the one map says something else of each pixel, as gradients do."""
        return is_fine(self.maps[self._one()], self.framing.image[0])

    def peak(self) -> tuple[int, int] | None:
        """The picture's pixel (x, y) where the map is highest; None where it is nowhere above zero."""
        return regions.peak(self.heat)

    def mask(self, fraction: float = 0.15) -> regions.Mask:
        """The picture's pixels (height, width) of at least `fraction` of the map's maximum."""
        return regions.mask(self.heat, fraction)

    def box(self, fraction: float = 0.15, largest: str = "pixels") -> regions.PixelBox | None:
        """The box (x0, y0, x1, y1) of the mask's largest component, x1 and y1 exclusive; None for an empty map.

        It is the largest by `pixels`, `contour` or `rect`, as regions.largest_component has them.
        """
        return regions.box(self.heat, fraction, largest)

    def check(self) -> Verdict:
        """Whether to believe the one map, by cheap checks of it in the model: `why.check().words` says it in a line.

        Raises ModelError for an explanation that was loaded, as the model isn't kept with it.
        """
        asked = self.asked[self._one()]
        if self.claim is None:
            raise ModelError(f"the saved explanation of {asked.name!r} has no model to check it in; explain it again")
        return self.claim(asked).check()

    def overlay(self, *, opacity: float = 0.7, boxed: bool = False, peak: float | None = None) -> Image.Image:
        """The map over the picture, in the picture's own size; grey and dim where the model could not look.

        Colours reach from 0, or from the map's minimum where that is above 0, to `peak`, the map's own
        maximum unless given; a signed method's are blue against and red for. Under a `fine` map the
        picture is grey and dim, and the highest hundredth of the pixels has the last colour. A box that was asked
        about is drawn; with `boxed` the map's own is too, in white.
        """
        heat = self.heat
        lowest = 0.0 if self.signed else max(float(np.nanmin(heat)), 0.0)
        picture = overlay(self.picture, heat - lowest, opacity=opacity, signed=self.signed, peak=peak, fine=self.fine)
        asked = self.asked[self._one()].box
        picture = outlined(picture, asked, colour=ASKED) if asked else picture
        found = regions.box(heat) if boxed else None
        return outlined(picture, found) if found else picture

    @property
    def title(self) -> str:
        """The one target's name and its probability."""
        probability = self.probabilities[self._one()]
        if probability is None:
            return self.name
        return f"{self.name} <0.01" if probability < 0.005 else f"{self.name} {probability:.2f}"

    @property
    def asking(self) -> str:
        """The question in words, with its mark; nothing where none was asked."""
        return f"{self.question.rstrip('? ')}?" if self.question else ""

    @property
    def _unlit(self) -> str:
        """Said of a map that marks nothing, whose picture looks as if nothing had been drawn."""
        return "" if self.maps[self._one()].any() else "; nothing lit"

    def figure(self, *, boxed: bool = False) -> Image.Image:
        """The overlay with caption and colour bar, or a contact sheet where several targets were asked."""
        bar = SIGNED if self.signed else EVIDENCE
        if len(self) == 1:
            asked = f"{self.asking}; {self.how}" if self.question else self.how
            return captioned(Tile(self.overlay(boxed=boxed), self.title, f"{asked}{self._unlit}"), bar=bar)
        tiles = [Tile(one.overlay(boxed=boxed), one.title, f"score {short(one.scores[0])}{one._unlit}") for one in self]
        told = " ".join(filter(None, [self.asking, self.said]))
        return sheet(tiles, title=told or self.how, note=self.how if told else "", bar=bar)

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.figure().save(data, "PNG")
        return data.getvalue()

    def facts(self) -> dict[str, Any]:
        """The one target's explanation as JSON values; peak and box in the picture's pixels."""
        k = self._one()
        heat = self.heat
        return {
            "picture": self.path,
            "question": self.question,
            "said": self.said,
            "target": self.asked[k].facts,
            "score": self.scores[k],
            "probability": self.probabilities[k],
            "predictions": [asdict(prediction) for prediction in self.predictions],
            **{name: value for name, value in self.origin.items() if name != "signed"},
            "peak": _listed(regions.peak(heat)),
            "box": _listed(regions.box(heat)),
            "framing": asdict(self.framing),
            "versions": self.versions,
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write `explanation.json`, `maps.npy` (raw), `picture.png` and `figure.png` to a folder, made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {f: getattr(self, f) for f in _PLAIN} | {
            "framing": asdict(self.framing),
            "asked": [asdict(asked) for asked in self.asked],
            "predictions": [asdict(prediction) for prediction in self.predictions],
        }
        files = [folder / name for name in ("explanation.json", "maps.npy", "picture.png", "figure.png")]
        files[0].write_text(json.dumps(kept, indent=2), encoding="utf-8")
        np.save(files[1], self.maps.numpy())
        self.picture.save(files[2], compress_level=1)
        self.figure().save(files[3], compress_level=1)
        return files

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote. Raises PictureError where it can't be read."""
        folder = Path(folder)
        try:
            kept = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
            plain: dict[str, Any] = {
                name: tuple(kept[name]) if isinstance(kept[name], list) else kept[name]
                for name in _PLAIN
                if name in kept or name not in _NEW
            }
            with Image.open(folder / "picture.png") as picture:
                picture.load()
            return cls(
                picture=picture,
                framing=Framing(**{key: tuple(value) for key, value in kept["framing"].items()}),
                maps=torch.from_numpy(np.load(folder / "maps.npy", allow_pickle=False)),
                asked=tuple(Asked(**row | {"box": _corners(row.get("box"))}) for row in kept["asked"]),
                predictions=tuple(Prediction(**row) for row in kept["predictions"]),
                **plain,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PictureError(f"{folder} holds no saved explanation ({error}); expected what save() wrote") from error

    def _one(self) -> int:
        if len(self) != 1:
            raise TargetError(f"{len(self)} targets were asked; pick one, such as why[{self.asked[0].name!r}]")
        return 0

    def _names(self) -> str:
        return ", ".join(repr(asked.name) for asked in self.asked)


def is_fine(maps: Tensor, width: int) -> bool:
    """Whether maps (..., w) of images of that width say something else of each pixel, as gradients do."""
    near = 2 * maps.shape[-1] >= width
    return near and bool(maps.diff(dim=-1).abs().mean() > FINE_STEP * maps.abs().mean())


_PLAIN = (
    "scores", "probabilities", "model", "source", "weights_hash", "layer", "layer_why", "method", "options", "signed",
    "seed", "passes", "path", "versions", "question", "said",
)  # fmt: skip
_NEW = ("question", "said")  # explanations saved by 0.3.0 don't have them


def _corners(kept: list[float] | None) -> Box | None:
    return None if kept is None else (kept[0], kept[1], kept[2], kept[3])


def short(score: float) -> str:
    """Two digits, as many behind the point as a small score needs."""
    return f"{score:.2f}" if abs(score) >= 0.01 else f"{score:.2g}"


def _listed(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)
