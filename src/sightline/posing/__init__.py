"""Posing: what is asked in words of one picture, as a module that takes the image alone and targets of its output.

A kind of question is one function of a setting and a row of the table. What has no row's name before it is
what a model's task takes for a plain answer: a class, a word, a sentence to compare with.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sightline.errors import TargetError
from sightline.model import Model, Task
from sightline.posing import boxes, classes, likeness, regions, words
from sightline.posing.setting import Posed, Setting, asked_in_words, refused
from sightline.targets import Asked, Question, contrast, counterfactual, several
from sightline.targets.scores import name_of


@dataclass(frozen=True, slots=True)
class Kind:
    """A row: a kind of question, what it looks like, the tasks of models that it can be asked of, and what it is."""

    name: str
    form: str
    pose: Callable[[Setting, str], Posed]
    tasks: tuple[Task, ...]
    says: str


_CLASSED, _VALUES, _WORDS = (Task.CLASSES, Task.ANSWERS), (Task.VALUES,), (Task.WORDS,)
_REGIONS, _BOXES, _LIKENESS = (Task.REGIONS,), (Task.BOXES,), (Task.LIKENESS,)

KINDS = (
    Kind("all", "all:A,B", classes.together, _CLASSED, "labels together: the sum of their logits"),
    Kind("answer", "answer", classes.answer, (Task.ANSWERS,), "the answer to --question; answer:NAME another one"),
    Kind("answer", "answer", words.sentence, _WORDS, "the answer to --question, as it is written"),
    Kind("caption", "caption", words.sentence, _WORDS, "the sentence as a whole, the model's own or --text"),
    Kind("word", "word:3, word:red", words.word, _WORDS, "one word of the sentence, counted from 1"),
    Kind("box", "box:2, box:X0,Y0,X1,Y1:NAME", boxes.numbered, _BOXES, "a box found, from 1, or one of yours"),
    Kind("region", "region:MASK.png:NAME", regions.masked, _REGIONS, "a class over a mask; by default the most seen"),
    Kind("object", "object:X,Y:NAME", regions.piece, _REGIONS, "a class over its connected piece around a pixel"),
    Kind("pixel", "pixel:X,Y:NAME", regions.dot, _REGIONS, "a class at one pixel of the picture"),
    Kind("text", "text:SENTENCE", likeness.sentence, _LIKENESS, "how like a sentence the picture is, as --text"),
    Kind("like", "like:OTHER.jpg", likeness.picture, _LIKENESS, "how like another picture it is"),
    Kind("raises", "raises, raises:NAME", classes.raises, _VALUES, "what raises the number, or one of several"),
    Kind("lowers", "lowers, lowers:NAME", classes.lowers, _VALUES, "what lowers it"),
)
"""The table; a name may stand in several rows, for different tasks."""

BARE = ("answer", "caption", "raises", "lowers")
"""Kinds that can stand without anything behind the name."""

ANYWHERE = (
    ("NAME, INDEX, WNID", "a class; also a detector's best box of it, or a segmentation wherever it is seen"),
    ("top:5", "the best five, also of boxes and of regions by their size"),
    ("finer:NAME", "what tells a class from its nearest rivals"),
    ("not:NAME", "what speaks against it"),
    ("A-vs:B", "why the one and not the other"),
)
"""What is asked of classes, and how that is read elsewhere."""

PLAIN: dict[Task, Callable[[Setting, str], Posed]] = {
    Task.CLASSES: classes.one,
    Task.ANSWERS: classes.one,
    Task.VALUES: classes.raises,
    Task.REGIONS: regions.whole,
    Task.BOXES: boxes.best,
    Task.LIKENESS: likeness.sentence,
    Task.WORDS: words.word,
}
"""What text without a kind's name before it means."""

__all__ = ["ANYWHERE", "KINDS", "Kind", "Posed", "Setting", "asked_in_words", "is_posed", "pose", "said"]


def is_posed(model: Model, target: Any) -> bool:
    """Whether a question is about one picture at a time: not of a class that can be named before it is seen."""
    if model.task not in (Task.CLASSES, Task.ANSWERS):
        return True
    texts = [target] if isinstance(target, str) else target if isinstance(target, list | tuple) else []
    return any(is_posed(model, text) if isinstance(text, list | tuple) else _has_kind(text) for text in texts)


def pose(setting: Setting, targets: Sequence[Any] | None) -> Question:
    """What is asked of a setting, as a question of its one image; None asks what its task's answers suggest.

    Each target is text, a class's index, or a callable on the output. A setting's text that is compared with the
    picture is one more of them, the first. Raises TargetError.
    """
    asked = _suggested(setting) if targets is None else [text for one in targets for text in _spread(setting, one)]
    if setting.text is not None and setting.model.task is Task.LIKENESS and targets is not None:
        asked = [f"text:{setting.text}", *asked]
    if not asked:
        raise TargetError(f"nothing is asked of {setting.model.name}: {_nothing(setting)}")
    posed = [_posed(setting, each) for each in asked]
    phrases = tuple(each.phrase for each in posed if each.phrase is not None)
    plain = len(phrases) == len(posed)
    return Question(
        None if plain else several(*(each.target for each in posed)),
        (phrases,) if plain else (),
        several=len(posed) > 1,
        labels=setting.model.labels,
        multi_label=setting.model.multi_label,
        names=tuple(
            Asked(each.name, each.index, each.box, "" if callable(text) else str(text).strip())
            for text, each in zip(asked, posed, strict=True)
        ),
        shares=tuple(each.share for each in posed),
    )


def _nothing(setting: Setting) -> str:
    """Why there may be nothing to ask about."""
    if setting.model.task is Task.BOXES and not boxes.found_boxes(setting):
        return "it finds no box in the picture"
    return "the list of targets is empty, or ends at 0"


def said(setting: Setting) -> str:
    """What the model itself says of the picture, in words; nothing for a number or an embedding."""
    match setting.model.task:
        case Task.WORDS:
            return words.said(setting)
        case Task.REGIONS:
            return regions.said(setting)
        case Task.BOXES:
            return boxes.said(setting)
        case _:
            return ""


def _posed(setting: Setting, asked: Any) -> Posed:
    if callable(asked):
        return Posed(asked, name_of(asked).replace("<lambda>", "target"))
    text = str(asked).strip()
    if not text:
        raise TargetError("an empty target was given; `sightline targets` lists what can be asked")
    head, _, rest = text.partition(":")
    if head.casefold() == "not":
        inner = _posed(setting, rest)
        phrase = None if inner.phrase is None else replace(inner.phrase, negated=not inner.phrase.negated)
        return Posed(counterfactual(inner.target), f"against {inner.name}", inner.index, box=inner.box, phrase=phrase)
    if head.casefold() == "finer":
        return classes.finest(setting, rest)
    this, versus, that = text.partition("-vs:")
    if versus:
        one, other = _posed(setting, this), _posed(setting, that)
        return Posed(contrast(one.target, other.target), f"{one.name} and not {other.name}", one.index, box=one.box)
    rows = [row for row in KINDS if _fits(row, text)]
    fitting = [row for row in rows if setting.model.task in row.tasks]
    if rows and not fitting:
        raise refused(setting, f"{text!r}", [task for row in rows for task in row.tasks])
    if fitting:
        return fitting[0].pose(setting, rest.strip())
    return PLAIN[setting.model.task](setting, text)


def _suggested(setting: Setting) -> list[str]:
    match setting.model.task:
        case Task.CLASSES | Task.ANSWERS:
            return ["answer"]
        case Task.VALUES:
            return ["raises"]
        case Task.WORDS:
            return words.all_words(setting)
        case Task.REGIONS:
            return regions.largest(setting, 1)
        case Task.BOXES:
            return ["box:1"]
        case Task.LIKENESS:
            if setting.text is None:
                raise TargetError(
                    f"{setting.model.name} gives embeddings; say what to compare with: text:a sentence, like:OTHER.jpg"
                )
            return [f"text:{setting.text}"]


def _spread(setting: Setting, asked: Any) -> list[Any]:
    """`top:N` as so many questions; anything else as it is."""
    found = re.fullmatch(r"top:(\d+)", asked.strip()) if isinstance(asked, str) else None
    if not found:
        return [asked]
    match setting.model.task:
        case Task.BOXES:
            return [f"box:{place}" for place in range(1, min(int(found[1]), len(boxes.found_boxes(setting))) + 1)]
        case Task.REGIONS:
            return list(regions.largest(setting, int(found[1])))
        case _:
            raise TargetError(f"{asked!r} is asked of classes, boxes or regions; name the targets one by one")


def _has_kind(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    inner = re.sub(r"^(not:)+", "", text.strip(), flags=re.IGNORECASE)
    return any(_fits(row, part) for row in KINDS for part in inner.split("-vs:"))


def _fits(row: Kind, text: str) -> bool:
    head, colon, _ = text.partition(":")
    return head.casefold() == row.name and bool(colon or row.name in BARE)
