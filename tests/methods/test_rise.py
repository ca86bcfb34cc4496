"""RISE against the definition written as loops, its mask's mean by counting, and cases solved by hand."""

import itertools
import math
from typing import Any

import pytest
import torch
from nets import Deep, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method


def rise(**options: Any) -> Any:
    return method("rise").set(**{"masks": 30, "cells": 3, **options})


def pictures(n: int = 2) -> Tensor:
    return image(n, 8, 10, seed=3, dtype=torch.float64)


def stretched(grid: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, the cells tiling the large mask evenly, pixel by pixel; at the border cells are repeated."""
    out = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * len(grid) / height - 0.5, 0), len(grid) - 1)
            u = min(max((x + 0.5) * len(grid) / width - 0.5, 0), len(grid) - 1)
            for row, column in itertools.product(range(len(grid)), repeat=2):
                weight = max(0, 1 - abs(v - row)) * max(0, 1 - abs(u - column))
                out[y, x] += weight * float(grid[row, column])
    return out


def mask(grid: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    down, across = math.ceil(height / len(grid)), math.ceil(width / len(grid))
    large = stretched(grid, (len(grid) + 1) * down, (len(grid) + 1) * across)
    return large[top : top + height, left : left + width]


def drawn(count: int, cells: int, keep: float, height: int, width: int, seed: int = 0) -> list[Tensor]:
    """Masks from the numbers that the seed gives: a grid, then how far down, then how far across."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        grid = torch.rand(cells, cells, generator=generator) < keep
        top = int(torch.randint(math.ceil(height / cells), (), generator=generator))
        left = int(torch.randint(math.ceil(width / cells), (), generator=generator))
        found.append(mask(grid, top, left, height, width))
    return found


@torch.no_grad()
@pytest.mark.parametrize(("cells", "keep"), [(3, 0.5), (4, 0.2), (5, 0.5)])
def test_equals_the_paper(cells: int, keep: float) -> None:
    model, images, targets = seeded(Deep).double(), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, method=rise(cells=cells, keep=keep))
    true = torch.zeros(2, 2, 8, 10).double()
    for each in drawn(30, cells, keep, 8, 10):
        for n, k in itertools.product(range(2), repeat=2):
            confidence = model((each * images[n])[None]).softmax(1)[0, targets[n][k]]
            true[n, k] += confidence * each / (30 * keep)
    assert_close(found, true, rtol=1e-5, atol=0)


class Corner(nn.Module):
    """Sure of its class if the upper left pixel is lit, and not at all if it's dark."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([400 * images[:, 0, 0, 0] - 200, 0 * images[:, 0, 0, 0]], 1)


def test_one_cell_by_hand() -> None:
    """Masks are 1 everywhere or 0: the map is twice the share of masks that let the corner through."""
    generator = torch.Generator().manual_seed(7)
    lit = 0
    for _ in range(40):
        lit += int(torch.rand(1, 1, generator=generator) < 0.5)
        torch.randint(4, (2,), generator=generator)  # where the mask is cropped
    found = sightline.maps(Corner(), torch.ones(1, 3, 4, 4), 0, method=rise(masks=40, cells=1), seed=7)
    assert 0 < lit < 40
    assert_close(found, torch.full((1, 4, 4), 2 * lit / 40))


def test_masks_that_keep_everything_give_the_confidence_everywhere() -> None:
    model, images = seeded(Deep).double(), pictures()
    found = sightline.maps(model, images, 1, method=rise(keep=1.0))
    assert_close(found, model(images).softmax(1)[:, 1, None, None].expand(-1, 8, 10), rtol=1e-5, atol=0)


def test_comes_near_its_mean_over_every_mask() -> None:
    """16 grids at 4 places, each as likely: the expected map within 5 standard errors of what 3000 masks give."""
    picture = torch.ones(1, 3, 4, 4).double()
    weights = torch.linspace(-1, 2, 16).view(4, 4).double()

    class Linear(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            score = (weights * images[:, 0]).sum((1, 2))
            return torch.stack([score, 0 * score], 1)

    every = [
        mask(torch.tensor(grid).view(2, 2), top, left, 4, 4)
        for grid in itertools.product([0, 1], repeat=4) for top in range(2) for left in range(2)
    ]  # fmt: skip
    values = torch.stack([torch.sigmoid((weights * each).sum()) * each / 0.5 for each in every])
    assert_close(torch.stack(every).mean(0), torch.full((4, 4), 0.5).double())
    found = sightline.maps(Linear(), picture, 0, method=rise(masks=3000, cells=2))[0]
    assert ((found - values.mean(0)).abs() < 5 * values.std(0) / math.sqrt(3000)).all()


def test_masks_dont_depend_on_how_many_fit_in_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = seeded(Deep).double(), pictures()
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = sightline.maps(model, images, 1, method=rise())
    assert max(seen) <= 16
    for at_once in (2, 14):
        monkeypatch.setattr(sightline.asking, "AT_ONCE", at_once)
        assert_close(sightline.maps(model, images, 1, method=rise()), found, rtol=1e-7, atol=0)


def test_repeats_bit_for_bit_and_other_seeds_differ() -> None:
    model, images = seeded(Deep).double(), pictures()
    first, again, other = (sightline.maps(model, images, 1, method=rise(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("options", [{"masks": 0}, {"cells": 0}, {"cells": 9}, {"keep": 0.0}, {"keep": 1.5}])
def test_refuses_no_masks_no_grid_and_no_share(options: dict[str, float]) -> None:
    with pytest.raises(MethodError, match="rise takes 1 mask or more.*and 8 x 10 pixels"):
        sightline.maps(seeded(Deep).double(), pictures(), 0, method=rise(**options))


@torch.no_grad()
def test_masks_are_the_authors_but_for_the_border() -> None:
    """Their resize mirrors the cells at the border, ours repeats them; inside, half a cell away, the two are equal."""
    transform = pytest.importorskip("skimage.transform", reason="scikit-image isn't installed")
    grid = torch.rand(3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    ours = stretched(grid, 12, 16)
    given = grid.double().numpy()
    for mode, same in (("edge", True), ("reflect", False)):
        theirs = torch.from_numpy(transform.resize(given, (12, 16), order=1, mode=mode, anti_aliasing=False))
        assert torch.allclose(ours[2:-2, 3:-3], theirs[2:-2, 3:-3])
        assert torch.allclose(ours, theirs) == same
