"""What the embedded nets of language are worth, measured through the public API; used by language.py."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import sightline
from sightline.datasets.phrases import KINDS, Question, caption, questions
from sightline.datasets.relations import COLOURS, SHAPES, TEXTURES, Arrangement, arrangement
from sightline.targets import written

TESTED, SEED = 300, 1  # scenes of two or three shapes
GUESSED = 1500  # training scenes from which the answers are guessed without the picture
CONTENT = {"colour": COLOURS, "texture": TEXTURES, "shape": SHAPES}


@dataclass
class Pointing:
    """How often a map's highest place is on what it is asked about, beside the picture's centre and any place."""

    hits: list[bool] = field(default_factory=list)
    centre: list[bool] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    empty: int = 0

    def add(self, raw: torch.Tensor, each: Arrangement, about: Sequence[str]) -> None:
        """Judge a raw map (h, w), brought to the picture bilinearly."""
        mask = np.any([each.painting.mask(shape) for shape in about], axis=0)
        heat = F.interpolate(raw[None, None], size=mask.shape, mode="bilinear", align_corners=False)[0, 0].numpy()
        self.hits.append(bool(heat.max() > 0 and mask[np.unravel_index(heat.argmax(), mask.shape)]))
        self.centre.append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
        self.area.append(float(mask.mean()))
        self.empty += not heat.max() > 0

    def facts(self) -> dict[str, float]:
        """In per cent, with how many were asked."""
        shares = {"grad-cam": self.hits, "centre": self.centre, "any place": self.area}
        return {"asked": len(self.hits)} | {
            name: round(100 * float(np.mean(values)), 1) for name, values in shares.items()
        } | {"empty maps": self.empty}  # fmt: skip


def scenes(count: int = TESTED) -> Iterator[Arrangement]:
    """The scenes of `scenes:relations:seed=1:objects=(2,3)`; settings were chosen by those of seed 0."""
    return (arrangement(place, seed=SEED, objects=(2, 3)) for place in range(count))


def kind_of(word: str, about: Sequence[str]) -> str | None:
    """The kind of a word, None for those about nothing."""
    return next((kind for kind, words in CONTENT.items() if word in words), "relation" if about else None)


def seen(model: sightline.Model, each: Arrangement) -> torch.Tensor:
    """The image (1, 3, H, W) of a scene."""
    return model.preprocess(each.painting.picture())[None]


def of_captions(model: sightline.Model, count: int = TESTED) -> dict[str, Any]:
    """How often sentences and words are right, and where the maps of the right words of its own sentences point.

    A word is right where it and all before it are the caption's; only such words are asked about.
    """
    writer = model.writer
    assert writer is not None
    right: dict[str, list[bool]] = defaultdict(list)
    pointing: dict[str, Pointing] = defaultdict(Pointing)
    for each in scenes(count):
        image, true = seen(model, each), caption(each)
        tokens = writer.write(image)
        said = [word.text for word in writer.words(tokens)]
        reading = writer.reading(tokens)
        right["sentence"].append(tuple(said) == true.words)
        good = True
        for nth, (word, about) in enumerate(zip(true.words, true.about, strict=True)):
            good = good and said[nth : nth + 1] == [word]
            kind = kind_of(word, about)
            if kind is None:
                continue
            right[kind].append(good)
            if good:
                raw = sightline.maps(reading, image, written(tokens, slice(nth, nth + 1)))[0]
                for row in (kind,) if kind == "relation" else (kind, "colour, texture and shape"):
                    pointing[row].add(raw, each, about)
    return {
        f"scenes:relations:count={count}:seed={SEED}:objects=(2,3)": {
            "right in per cent, a word where all before it are": percents(right),
            "Grad-CAM's highest place on the shape that the word is about": facts(pointing),
        }
    }


def of_questions(model: sightline.Model, count: int = TESTED) -> dict[str, Any]:
    """How often answers are right, beside guesses from the words alone, and where the maps of right answers point.

    What is asked is the answer that the net gives. Those about all shapes or none aren't judged.
    """
    assert model.answers is not None
    guess = guesses()
    right: dict[str, list[bool]] = defaultdict(list)
    blind: dict[str, list[bool]] = defaultdict(list)
    pointing: dict[str, Pointing] = defaultdict(Pointing)
    for each in scenes(count):
        image = seen(model, each)
        for asked in questions(each):
            module = model.answers(asked.text)
            with torch.inference_mode():
                best = int(module(image)[0].argmax())
            good = model.labels[best] == asked.answer
            right[asked.kind].append(good)
            blind[asked.kind].append(guess.get(asked.text) == asked.answer)
            if good and len(asked.about) == 1:
                raw = sightline.maps(module, image, best)[0]
                for row in (asked.kind, "all"):
                    pointing[row].add(raw, each, asked.about)
    return {
        f"scenes:relations:count={count}:seed={SEED}:objects=(2,3)": {
            "right in per cent": percents(right),
            "right by the likeliest answer to the same words, without the picture": percents(blind),
            "Grad-CAM's highest place on the shape that the answer is about": facts(pointing),
        }
    }


def guesses() -> dict[str, str]:
    """The likeliest answer to each question, whatever the picture."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for place in range(GUESSED):
        each = arrangement(place, "train", objects=(2, 3))
        asked: list[Question] = [q for nth in range(2) for q in questions(each, nth)]
        for question in asked:
            found[question.text][question.answer] += 1
    return {text: counts.most_common(1)[0][0] for text, counts in found.items()}


def percents(found: dict[str, list[bool]]) -> dict[str, float]:
    """Shares that are right."""
    order = ["sentence", *KINDS, "relation"]
    return {kind: round(100 * float(np.mean(found[kind])), 1) for kind in order if kind in found}


def facts(found: dict[str, Pointing]) -> dict[str, dict[str, float]]:
    """Each kind's pointing."""
    return {kind: pointing.facts() for kind, pointing in found.items()}
