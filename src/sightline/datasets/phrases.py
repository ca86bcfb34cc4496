"""Phrases: what can be said and asked of an arrangement, and which of its shapes each word or answer is about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from sightline.datasets.painting import dice
from sightline.datasets.relations import COLOURS, SHAPES, Arrangement, Item

KINDS = ("colour", "shape", "texture", "neighbour", "presence", "number")
"""Kinds of questions."""


@dataclass(frozen=True)
class Caption:
    """A sentence as words and, for each of them, the shapes that it is about, by their names.

    A colour, a texture and a shape's name are about that shape; `left`, `right`, `above` and `below` about both
    that they relate; `a` and `of` about none.
    """

    words: tuple[str, ...]
    about: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Question:
    """A question of one of the KINDS, its answer, and the shapes that the answer is about: none after a "no"."""

    kind: str
    text: str
    answer: str
    about: tuple[str, ...]


def caption(arrangement: Arrangement) -> Caption:
    """The largest shape, and where it lies to the next largest: "a red striped circle left of a blue square"."""
    first, *others = arrangement.items
    said = list(_said(first))
    for other in others[:1]:
        relation, *of = first.relation(other).split()
        said += [(relation, (first.shape, other.shape)), *((word, ()) for word in of), *_said(other)]
    words, about = zip(*said, strict=True)
    return Caption(words, about)


def questions(arrangement: Arrangement, nth: int = 0) -> tuple[Question, ...]:
    """A question of each kind that the picture allows, about shapes by chance; each `nth` is another draw.

    Whatever can be asked of a picture has each answer as often as any other, whichever words ask it.
    """
    random = dice("phrases", arrangement.split, arrangement.seed, arrangement.place, nth)
    asked = (ask(arrangement, random) for ask in _ASKED)
    return tuple(question for question in asked if question is not None)


def _said(item: Item) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "a", ()
    texture = () if item.texture == "plain" else (item.texture,)
    for word in (item.colour, *texture, item.shape):
        yield word, (item.shape,)


def _one(arrangement: Arrangement, random: np.random.Generator) -> Item:
    return arrangement.items[int(random.integers(len(arrangement.items)))]


def _colour(arrangement: Arrangement, random: np.random.Generator) -> Question:
    item = _one(arrangement, random)
    return Question("colour", f"what colour is the {item.shape}?", item.colour, (item.shape,))


def _shape(arrangement: Arrangement, random: np.random.Generator) -> Question:
    item = _one(arrangement, random)
    return Question("shape", f"what shape is the {item.colour} thing?", item.shape, (item.shape,))


def _texture(arrangement: Arrangement, random: np.random.Generator) -> Question:
    item = _one(arrangement, random)
    return Question("texture", f"what texture is the {item.shape}?", item.texture, (item.shape,))


def _neighbour(arrangement: Arrangement, random: np.random.Generator) -> Question | None:
    """Only where one shape alone lies there."""
    pairs = [(one, other, one.relation(other)) for one, other in permutations(arrangement.items, 2)]
    known = [(to, where) for _, to, where in pairs]
    sure = [pair for pair in pairs if known.count(pair[1:]) == 1]
    if not sure:
        return None
    item, to, where = sure[int(random.integers(len(sure)))]
    return Question("neighbour", f"what is {where} the {to.colour} {to.shape}?", item.shape, (item.shape,))


def _presence(arrangement: Arrangement, random: np.random.Generator) -> Question:
    """Half of them are there; of the others, half are of a colour, half of a shape that is there."""
    item = _one(arrangement, random)
    colour, shape, there = item.colour, item.shape, bool(random.random() < 0.5)
    if not there and random.random() < 0.5:
        colour = str(random.choice([each for each in COLOURS if each != colour]))
    elif not there:
        shape = str(random.choice([each for each in SHAPES if each != shape]))
    return Question(
        "presence", f"is there a {colour} {shape}?", "yes" if there else "no", (item.shape,) if there else ()
    )


def _number(arrangement: Arrangement, random: np.random.Generator) -> Question:
    every = tuple(item.shape for item in arrangement.items)
    return Question("number", "how many things are there?", str(len(every)), every)


_ASKED: tuple[Callable[[Arrangement, np.random.Generator], Question | None], ...] = (
    _colour, _shape, _texture, _neighbour, _presence, _number,
)  # fmt: skip
