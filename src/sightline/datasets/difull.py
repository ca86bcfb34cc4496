"""DiFull: a net in which each class sees one cell of a grid and nothing else, so that the truth needs no training.

Rao, Boehle and Schiele, *Towards Better Understanding Attribution Methods*, CVPR 2022, arXiv 2205.10435.
With random weights already, evidence outside a class's cell can't be about the score: LayerCAM and
HiResCAM have none there, while Grad-CAM carries one cell's weights into all and leaves about a cell's
share inside. Maps without evidence are not judged, rather than counted as 0.

Differs from the paper: class and cell are one to one, where it gives each cell a head for every class;
the features keep the image's resolution, so that no map bleeds over a cell's border by being enlarged.

The model by its import path: `sightline evaluate scenes:difull --model sightline.datasets.difull:net`.
"""

from functools import partial

import torch
from torch import Tensor, nn

from sightline.datasets.grid import joined, tile
from sightline.datasets.listed import Listed
from sightline.datasets.painting import dice
from sightline.datasets.scenes import Scene, check, scenes, titled
from sightline.datasets.shapes import CLASSES
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.targets import Labels

TILE = 32  # pixels a side of a cell
WIDTH = 8  # channels of the features


class Apart(nn.Module):
    """Applies a module to each cell of a grid as if it were an image of its own."""

    def __init__(self, inner: nn.Module, cells: int) -> None:
        super().__init__()
        self.inner, self.cells = inner, cells

    def forward(self, images: Tensor) -> Tensor:
        rows = [
            torch.cat([self.inner(cell) for cell in row.tensor_split(self.cells, 3)], 3)
            for row in images.tensor_split(self.cells, 2)
        ]
        return torch.cat(rows, 2)


class DiFull(nn.Module):
    """Images (N, 3, H, W) -> logits (N, cells^2): class k sees cell k, counted in reading order.

    `trunk` makes features (n, channels, h, w) of a cell; the same one is used in each. Each class has a head
    of its own on the mean features of its cell.
    """

    def __init__(self, cells: int, trunk: nn.Module, channels: int) -> None:
        super().__init__()
        self.cells = cells
        self.features = Apart(trunk, cells)
        self.heads = nn.ModuleList(nn.Linear(channels, 1) for _ in range(cells**2))

    def forward(self, images: Tensor) -> Tensor:
        rows = self.features(images).tensor_split(self.cells, 2)
        cells = [cell.mean((2, 3)) for row in rows for cell in row.tensor_split(self.cells, 3)]
        return torch.cat([head(cell) for head, cell in zip(self.heads, cells, strict=True)], 1)


def net(cells: int = 2, seed: int = 0) -> Model:
    """A DiFull net of two convolutions with random weights, those of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()
        )
        module = DiFull(cells, trunk, WIDTH).eval()
    side = cells * TILE
    return Model(
        module=module,
        name=f"difull-{cells}-{seed}",
        preprocess=Preprocess((side, side), "squash", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        labels=Labels(labels(cells)),
        note="DiFull's random weights: class k sees nothing but cell k, and knows nothing of what is in it",
    )


def labels(cells: int) -> tuple[str, ...]:
    """The classes' names."""
    return tuple(f"cell {nth + 1}" for nth in range(cells**2))


def difull(count: int = 200, seed: int = 0, split: str = "test", cells: int = 2) -> Listed[int]:
    """Pictures of cells x cells shapes, 32 px each, in which class `cell k` is true of cell k.

    Raises DataError for options that can't be drawn.
    """
    check("difull", count, split, size=cells * TILE, smallest=2 * TILE)
    name = titled("difull", split=split, seed=seed, cells=cells)
    return scenes(name, f"difull{cells}-{split}", count, partial(_drawn, split=split, seed=seed, cells=cells))


def _drawn(place: int, split: str, seed: int, cells: int) -> Scene:
    random = dice("difull", split, seed, cells, place)
    shown = random.choice(CLASSES, cells**2)
    return joined([tile(str(label), random, TILE) for label in shown], labels(cells), cells)
