"""The embedded language nets' eye: what there is in a picture, and how it lies."""

import torch
from torch import Tensor, nn

from sightline.bundled.net import SmallResNet, conv_norm

SCALE = 10.0  # of scores, so that what reads them isn't saturated


class Eye(nn.Module):
    """Images (N, 3, H, W) -> vectors (N, things + relations).

    `features` are SmallResNet's with a 1 x 1 convolution to more channels behind them. Of each channel the largest
    value in the image tells what there is: `things` scores, those below zero cut off, as what is absent is nothing to
    speak of; the largest values in `cells` x `cells` parts of it tell where: `relations` scores.

    Scores of what can be said, in the place of unnamed features, are those of Wu et al., *What value do explicit high
    level concepts have in vision to language problems?*, arXiv 1506.01144.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: int,
        stem: int,
        channels: int,
        things: int,
        relations: int,
        cells: int = 3,
    ) -> None:
        super().__init__()
        wider = nn.Sequential(conv_norm(widths[-1], channels, kernel=1), nn.ReLU())
        self.features = nn.Sequential(*SmallResNet(1, widths, blocks, stem).features, wider)
        self.pool, self.cells = nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d(cells)
        self.what = nn.Linear(channels, things)
        self.where = nn.Linear(channels * cells * cells, relations)
        self.length = things + relations

    def scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of what there is (N, things), and of how it lies (N, relations)."""
        found = self.features(images)
        return self.what(self.pool(found).flatten(1)), self.where(self.cells(found).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        what, where = self.scores(images)
        return torch.cat([what.relu(), where], 1) / SCALE
