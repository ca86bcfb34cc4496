"""Toy models of every task, whose answers are plain sums of a picture's colours: what their maps must be is known."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import sightline
from sightline.engine import Adapted, Inputs
from sightline.errors import TargetError
from sightline.language import Word
from sightline.targets import Candidates

PLAIN = sightline.Preprocess(size=(16, 16), fit="squash", mean=(0, 0, 0), std=(1, 1, 1), interpolation="nearest")
COLOURS = ("red", "green", "blue")
VOCABULARY = ("<end>", *COLOURS, "and")


class Cells(nn.Module):
    """Each colour's mean in cells of 4 x 4 pixels, as a feature map (N, 4, h, w), the last channel nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(4)
        self.mix = nn.Conv2d(3, 4, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(4)[:, :3, None, None])

    def cells(self, image: Tensor) -> Tensor:
        found: Tensor = self.mix(self.features(image))
        return found


class Segmenter(Cells):
    """Logits (N, 4, h, w): background, then each colour: ten times its mean there."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        colours = 10 * self.cells(image)[:, :3]
        return {"out": torch.cat([torch.full_like(colours[:, :1], 2.0), colours], 1)}


class Writer(Cells):
    """Logits (N, T, 5) of "red and green" and the like: a colour's is its mean times 30, the others' are fixed."""

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        colours = 30 * self.cells(image)[:, :3].mean((2, 3))
        rows = []
        for t in range(tokens.shape[1]):
            end = torch.full_like(colours[:, :1], 8.0 if t >= 3 else 0.0)
            joined = torch.full_like(end, 8.0 if t == 1 else -8.0)
            said = tokens[:, :t]
            left = torch.stack([torch.where((said == 1 + c).any(1), -9.0, colours[:, c]) for c in range(3)], 1)
            rows.append(torch.cat([end, left, joined], 1))
        return torch.stack(rows, 1)


class Speech:
    """The writer's Writer."""

    def __init__(self, module: Writer) -> None:
        self.module = module

    def write(self, image: Tensor, prompt: str | None = None) -> list[int]:
        tokens: list[int] = []
        while 0 not in tokens:
            output = self.module(image, torch.tensor([[*tokens, 0]])).detach()
            tokens.append(int(output[0, len(tokens)].argmax()))
        return tokens

    def read(self, text: str) -> list[int]:
        unknown = [word for word in text.split() if word not in VOCABULARY]
        if unknown:
            raise TargetError(f"unknown word {unknown[0]!r}")
        return [VOCABULARY.index(word) for word in text.split()]

    def words(self, tokens: Sequence[int]) -> list[Word]:
        return [Word(VOCABULARY[token], slice(t, t + 1)) for t, token in enumerate(tokens) if token]

    def reading(self, tokens: Sequence[int], prompt: str | None = None) -> nn.Module:
        return Adapted(self.module, Inputs({"tokens": torch.tensor([list(tokens)])}))


class Answerer(Cells):
    """ "which colour is most?" 1, or "least?" -1, as a sign (N, 1): logits of the colours."""

    def forward(self, image: Tensor, sign: Tensor) -> Tensor:
        return 30 * sign * self.cells(image)[:, :3].mean((2, 3))


class Detector(Cells):
    """Two candidates, the left half and the right, whose logits are each colour's mean there less 0.05, times 100."""

    def forward(self, image: Tensor) -> Candidates:
        left, right = self.cells(image)[:, :3].chunk(2, dim=3)
        values = 100 * (torch.stack([left.mean((2, 3)), right.mean((2, 3))], 1) - 0.05)
        halves = torch.tensor([[0.0, 0, 8, 16], [8, 0, 16, 16]]).expand(len(image), 2, 4)
        return Candidates(halves, values, values.sigmoid())


class Embedder(Cells):
    """The mean colour as an embedding."""

    def forward(self, image: Tensor) -> Tensor:
        return self.cells(image)[:, :3].mean((2, 3))


class Meter(Cells):
    """How much more red than blue there is, as one number a picture (N,)."""

    def forward(self, image: Tensor) -> Tensor:
        means = self.cells(image).mean((2, 3))
        return means[:, 0] - means[:, 2]


def texts(sentence: str) -> Tensor:
    """The colours that a sentence names."""
    return torch.tensor([float(colour in sentence) for colour in COLOURS])


def segmenter() -> sightline.Model:
    return sightline.wrap(Segmenter(), preprocess=PLAIN, labels=("background", *COLOURS), layer="mix", task="regions")


def detector() -> sightline.Model:
    return sightline.wrap(Detector(), preprocess=PLAIN, labels=COLOURS, layer="mix", task="boxes")


def meter() -> sightline.Model:
    return sightline.wrap(Meter(), preprocess=PLAIN, layer="mix", task="values")


def captioner() -> sightline.Model:
    net = Writer()
    return sightline.wrap(net, preprocess=PLAIN, layer="mix", writer=Speech(net))


def answerer() -> sightline.Model:
    net = Answerer()

    def answers(question: str) -> nn.Module:
        sign = -1.0 if "least" in question else 1.0
        return Adapted(net, Inputs({"sign": torch.tensor([[sign]])}))

    return sightline.wrap(net, name="answerer", preprocess=PLAIN, layer="mix", labels=COLOURS, answers=answers)


def embedder() -> sightline.Model:
    return sightline.wrap(Embedder(), name="embedder", preprocess=PLAIN, layer="mix", texts=texts)
