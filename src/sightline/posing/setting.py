"""A setting: one picture before a model, and what the model says of it, before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from sightline.engine import answered
from sightline.errors import ModelError, TargetError
from sightline.geometry import Box, Framing
from sightline.language import Word
from sightline.model import Model, Task
from sightline.targets import Phrase, Target


@dataclass(frozen=True)
class Setting:
    """One image (1, C, H, W), the model that looks at it, and where the image lies in its picture.

    `question` is what a model that answers questions is asked; `text` a sentence in place of the model's own.
    """

    model: Model
    image: Tensor = field(repr=False)
    framing: Framing
    question: str | None = None
    text: str | None = None

    @cached_property
    def tokens(self) -> list[int]:
        """The sentence as tokens: the one given, or the one that the model writes. Raises ModelError for none."""
        if self.model.writer is None:
            raise ModelError(f"{self.model.name} writes no words; ask about its {self.model.task}")
        if self.text is not None:
            return self.model.writer.read(self.text)
        return self.model.writer.write(self.image, self.question)

    @cached_property
    def words(self) -> list[Word]:
        """The sentence's words."""
        tokens = self.tokens
        found = [] if self.model.writer is None else self.model.writer.words(tokens)
        if not found:
            raise TargetError(f"{self.model.name} wrote nothing about this picture; give it a sentence with text")
        return found

    @cached_property
    def module(self) -> nn.Module:
        """The model as it takes the image alone: asked the question, or reading its sentence.

        Raises ModelError where a model that answers questions was asked none.
        """
        if self.model.task is Task.WORDS and self.model.writer is not None:
            return self.model.writer.reading(self.tokens, self.question)
        return asked_in_words(self.model, self.question, self.text)

    @cached_property
    def output(self) -> Any:
        """What the model gives for the image."""
        return answered(self.module, self.image)

    def in_image(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture in the image. Raises TargetError where the model can't see it."""
        across, down = self.framing.point_in_image(x, y)
        width, height = self.framing.image
        if not (0 <= across < width and 0 <= down < height):
            raise TargetError(f"the point {x:g},{y:g} isn't in what the model sees of the picture")
        return across, down


def asked_in_words(model: Model, question: str | None, text: str | None = None) -> nn.Module:
    """The module that takes an image alone, once a model that answers questions was asked one.

    Raises ModelError for a question too few, and for a question or a text that the model can't be given.
    """
    if text is not None and model.writer is None and model.texts is None:
        raise ModelError(f"{model.name} neither writes nor reads text; leave the text out")
    if model.answers is not None:
        if not question:
            raise ModelError(f"{model.name} answers questions; ask one with --question (Python: question=...)")
        return model.answers(question)
    if question and model.writer is None:
        raise ModelError(f"{model.name} answers no questions in words; leave the question out")
    return model.module


@dataclass(frozen=True)
class Posed:
    """One question of a setting: its target, its name, and the class, share (0..1) and box that it has, if any.

    `phrase` is the same as a question of classes, where it is one: such can be checked against other classes.
    """

    target: Target
    name: str
    index: int | None = None
    share: float | None = None
    box: Box | None = None  # in the picture's pixels
    phrase: Phrase | None = None


def refused(setting: Setting, what: str, tasks: Sequence[Task]) -> TargetError:
    """The error for a question that the model's outputs don't answer."""
    return TargetError(
        f"{what} is asked of models that give {' or '.join(tasks)}; {setting.model.name} gives {setting.model.task}"
    )
