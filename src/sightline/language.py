"""Language: what a model must offer so that it can be asked about words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Word:
    """One word that a model writes, and the tokens that it is made of."""

    text: str
    tokens: slice


class Writer(Protocol):
    """How a model writes about an image: a caption, or the answer to a prompt.

    What is written is a list of token ids, the mark of its end included where the model writes one.
    """

    def write(self, image: Tensor, prompt: str | None = None) -> list[int]:
        """What the model writes about one image (1, C, H, W), word after likeliest word."""
        ...

    def read(self, text: str) -> list[int]:
        """A sentence as tokens. Raises TargetError for a word that the model can't write."""
        ...

    def words(self, tokens: Sequence[int]) -> list[Word]:
        """The words that the tokens spell; marks of the end and the like are no words."""
        ...

    def reading(self, tokens: Sequence[int], prompt: str | None = None) -> nn.Module:
        """The model as it reads its own sentence: images -> logits (N, T, vocabulary), row t for token t."""
        ...
