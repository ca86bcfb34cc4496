"""The embedded captioner: a small residual net that starts an LSTM, which writes about the image word by word.

Vinyals et al., *Show and Tell*, arXiv 1411.4555: the image's vector is the LSTM's first input, each word's
embedding the next, and a linear head on what it gives scores the next word. Differs from it: the likeliest
word is taken instead of a beam of sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sightline.bundled.eye import Eye
from sightline.bundled.vocabulary import Vocabulary
from sightline.engine import Adapted, answered
from sightline.errors import ModelError, TargetError
from sightline.language import Word

END = 0  # the token of a sentence's end, and of its start
MOST = 12  # tokens of a sentence, its end among them


class Captioner(nn.Module):
    """Images (N, 3, H, W) and tokens (T,) or (N, T) -> logits (N, T, vocabulary), row t for token t.

    Each row knows the tokens before it; without tokens it goes on from its own likeliest ones, MOST of them.
    """

    def __init__(self, eye: Eye, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.eye = eye
        self.seen = nn.Linear(eye.length, hidden)
        self.word = nn.Embedding(vocabulary, hidden)
        self.cell = nn.LSTMCell(hidden, hidden)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, images: Tensor, tokens: Tensor | None = None) -> Tensor:
        return self.told(self.eye(images), tokens)

    def told(self, vectors: Tensor, tokens: Tensor | None = None) -> Tensor:
        """The same of the eye's vectors (N, eye.length)."""
        state = self.cell(self.seen(vectors))
        before = torch.full((len(vectors),), END, device=vectors.device)
        given = None if tokens is None else tokens.to(vectors.device).expand(len(vectors), -1)
        rows: list[Tensor] = []
        for nth in range(MOST if given is None else given.shape[1]):
            state = self.cell(self.word(before), state)
            rows.append(self.head(state[0]))
            before = rows[-1].argmax(1) if given is None else given[:, nth]
        return torch.stack(rows, 1)


@dataclass(frozen=True)
class Reading:
    """A way to call the captioner: as it reads these tokens."""

    tokens: tuple[int, ...]

    def __call__(self, net: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = net(images, torch.tensor(self.tokens))
        return logits


@dataclass(frozen=True)
class CaptionWriter:
    """The captioner as a `sightline.language.Writer`: a token a word, and END behind the last."""

    net: Captioner
    vocabulary: Vocabulary

    def write(self, image: Tensor, prompt: str | None = None) -> list[int]:
        """The likeliest words about one image (1, C, H, W). Raises ModelError for a prompt or for several images."""
        _no(prompt)
        if len(image) != 1:
            raise ModelError(f"{len(image)} images are written about one at a time; give one (1, C, H, W)")
        tokens: list[int] = answered(self.net, image)[0].argmax(1).tolist()
        return tokens[: tokens.index(END) + 1] if END in tokens else tokens

    def read(self, text: str) -> list[int]:
        """A sentence as tokens. Raises TargetError for a word that the captioner can't write, naming the nearest."""
        return [*self.vocabulary.read(text), END]

    def words(self, tokens: Sequence[int]) -> list[Word]:
        """The words, up to the end of the sentence. Raises TargetError for a token that there isn't."""
        found: list[Word] = []
        for place, token in enumerate(tokens):
            if not 0 <= token < len(self.vocabulary.words):
                raise TargetError(f"no token {token}; the captioner knows 0 to {len(self.vocabulary.words) - 1}")
            if token == END:
                break
            found.append(Word(self.vocabulary.words[token], slice(place, place + 1)))
        return found

    def reading(self, tokens: Sequence[int], prompt: str | None = None) -> nn.Module:
        """The captioner as it reads a sentence: images -> logits (N, T, vocabulary). Raises ModelError for a prompt."""
        _no(prompt)
        return Adapted(self.net, Reading(tuple(tokens)))


def _no(prompt: str | None) -> None:
    if prompt:
        raise ModelError(f"the captioner writes of its own accord and takes no question, got {prompt!r}; leave it out")
