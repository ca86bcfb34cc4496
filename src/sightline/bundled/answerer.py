"""The embedded answerer: a small residual net and an LSTM that reads the question, joined by a pointwise product.

Antol et al., *VQA: Visual Question Answering*, arXiv 1505.00468, section 4: image and question each become a vector
by a linear layer and tanh, the two are multiplied, and a net with one hidden layer scores the answers. Differs from
it: one LSTM layer, no norm of the image's vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sightline.bundled.eye import Eye
from sightline.bundled.vocabulary import Vocabulary
from sightline.engine import Adapted
from sightline.errors import TargetError

MOST = 8  # words of a question


class Answerer(nn.Module):
    """Images (N, 3, H, W) and questions (MOST,) or (M, MOST), M a multiple of N, as tokens -> logits (M, answers).

    Token 0 is blank, and stands behind the words of a shorter question. Questions of one image follow one another.
    """

    def __init__(self, eye: Eye, vocabulary: int, answers: int, hidden: int) -> None:
        super().__init__()
        self.eye = eye
        self.seen = nn.Linear(eye.length, hidden)
        self.word = nn.Embedding(vocabulary, hidden)
        self.cell = nn.LSTMCell(hidden, hidden)
        self.asked = nn.Linear(hidden, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, answers)

    def forward(self, images: Tensor, questions: Tensor) -> Tensor:
        return self.answered(self.eye(images), questions)

    def answered(self, vectors: Tensor, questions: Tensor) -> Tensor:
        """The same of the eye's vectors (N, eye.length)."""
        seen = self.seen(vectors).tanh()
        tokens = questions.to(vectors.device).reshape(-1, MOST)
        state: tuple[Tensor, Tensor] | None = None
        for nth in range(MOST):
            state = self.cell(self.word(tokens[:, nth]), state)
        assert state is not None
        asked = self.asked(state[0]).tanh()
        joined = seen.repeat_interleave(max(1, len(asked) // len(seen)), 0) * asked
        logits: Tensor = self.head(self.mix(joined).tanh())
        return logits


@dataclass(frozen=True)
class Asked:
    """A way to call the answerer: each image is asked this question."""

    tokens: tuple[int, ...]

    def __call__(self, net: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = net(images, torch.tensor(self.tokens))
        return logits


@dataclass(frozen=True)
class Asking:
    """What makes, of a question in words, the answerer as it takes an image alone."""

    net: Answerer
    vocabulary: Vocabulary

    def __call__(self, question: str) -> nn.Module:
        """Raises TargetError for a word that the answerer doesn't know, naming the nearest, and for too many words."""
        return Adapted(self.net, Asked(tuple(self.read(question))))

    def read(self, question: str) -> list[int]:
        """A question as MOST tokens."""
        tokens = self.vocabulary.read(question)
        if len(tokens) > MOST:
            raise TargetError(f"the question {question!r} has {len(tokens)} words; expected {MOST} or fewer")
        return tokens + [0] * (MOST - len(tokens))
