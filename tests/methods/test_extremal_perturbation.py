"""Extremal perturbation against the same descent written out, its parts by hand, and nets that look at one place."""

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
from sightline.methods.extremal_perturbation import WEIGHTS, nearness, off_area, smooth_maximum


def perturbation(**options: Any) -> Any:
    return method("extremal-perturbation").set(**{"areas": (0.25,), "steps": 50, "cells": 8, **options})


def blurred(picture: Tensor) -> Tensor:
    """A Gaussian of 9 % of the shorter side, by a double sum; only pixels that there are count."""
    sigma = 0.09 * min(picture.shape[1:])
    rows, columns = torch.arange(picture.shape[1]).double(), torch.arange(picture.shape[2]).double()
    out = torch.zeros_like(picture)
    for y in rows:
        for x in columns:
            weights = torch.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
            out[:, int(y), int(x)] = (weights * picture).sum((1, 2)) / weights.sum()
    return out


def mask(logits: Tensor, height: int, width: int) -> Tensor:
    """Cell by cell the smooth maximum of what the cells reach."""
    rows, columns = logits.shape
    cells = [(y, x) for y in range(rows) for x in range(columns)]
    values = []
    for y, x in cells:
        reached = []
        for v, u in cells:
            away = math.hypot((y - v) * height / rows, (x - u) * width / columns) / (0.09 * min(height, width))
            reached.append(torch.sigmoid(logits[v, u]) * math.exp(-2 * max(0.0, away - 0.5) ** 2))
        powers = [torch.exp(20 * value) for value in reached]
        values.append(sum(value * power for value, power in zip(reached, powers)) / sum(powers))
    return torch.stack(values).view(rows, columns)


def written_out(model: nn.Module, picture: Tensor, target: int, area: float, cells: int, each: int) -> Tensor:
    """The mask for one area, by `each` steps of Adam for each of the penalty's weights."""
    height, width = picture.shape[1:]
    blur = blurred(picture)
    with torch.no_grad():
        gap = (model(picture[None]) - model(blur[None]))[0, target].abs()
    flat = torch.full((height, width), 0.5, dtype=picture.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(model((flat * picture + (1 - flat) * blur)[None])[0, target], flat)
    logits = nn.functional.adaptive_avg_pool2d(gradient[None], cells)[0]
    logits = logits / logits.abs().max()
    for weight in WEIGHTS:
        logits = logits.detach().requires_grad_()
        adam = torch.optim.Adam([logits], lr=0.3)
        for _ in range(each):
            small = mask(logits, height, width)
            large = nn.functional.interpolate(small[None, None], (height, width), mode="bilinear")[0]
            score = model((large * picture + (1 - large) * blur)[None])[0, target]
            ordered = small.flatten().sort().values
            ones = [1.0 if place >= (1 - area) * len(ordered) else 0.0 for place in range(len(ordered))]
            penalty = sum((value - one) ** 2 for value, one in zip(ordered, ones)) / len(ordered)
            adam.zero_grad()
            (weight * penalty - score / gap).backward()
            adam.step()
    return mask(logits.detach(), height, width)


def test_equals_the_descent_written_out() -> None:
    model, images, targets = seeded(Deep).double(), 2 * image(2, 6, 7, seed=3, dtype=torch.float64), [[1, 2], [3, 0]]
    areas = (0.2, 0.5)
    method_ = perturbation(areas=areas, steps=2 * len(WEIGHTS), cells=3)
    found = sightline.maps(model, images, targets, method=method_)
    true = [sum(written_out(model, images[n], k, area, 3, 2) for area in areas) for n in range(2) for k in targets[n]]
    assert_close(found, torch.stack(true).view(2, 2, 3, 3), rtol=1e-6, atol=1e-8)


def test_the_penalty_by_hand() -> None:
    """Sorted 0, .2, .5, 1 against 0, 0, 0, 1; against 0, 0, 1, 1; a mask of that area has none."""
    masks = torch.tensor([[0.5, 1.0], [0.0, 0.2]])
    assert_close(off_area(masks, 0.25), torch.tensor((0.04 + 0.25) / 4))
    assert_close(off_area(masks, 0.5), torch.tensor((0.04 + 0.25) / 4))
    assert_close(off_area(masks, 0.75), torch.tensor((0.64 + 0.25) / 4))
    assert float(off_area(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 0.25)) == 0


def test_the_smooth_maximum_by_hand() -> None:
    """Of ln 2 / 20 and 0, with everything near: 2 to 1; and with nothing near but a cell itself, the cell itself."""
    values = torch.tensor([math.log(2) / 20, 0.0])
    assert_close(smooth_maximum(values, torch.ones(2, 2)), torch.full((2,), 2 / 3 * math.log(2) / 20))
    assert_close(smooth_maximum(torch.tensor([1.0, 0.0]), torch.eye(2)), torch.tensor([1 / (1 + math.exp(-20)), 0]))


def test_the_reach_by_hand() -> None:
    """Cells of 9 pixels in an image of 100 x 200, whose unit is 9 pixels: neighbours are 1 away, then sqrt 2."""
    reach = nearness([2, 2], [100, 200])
    down, across = (50 / 9 - 0.5) ** 2, (100 / 9 - 0.5) ** 2
    assert_close(reach[0], torch.tensor([1, math.exp(-2 * across), math.exp(-2 * down), reach[3, 0]]).double())
    fine = nearness([100, 1], [100, 100])
    assert_close(fine[0, :5], torch.tensor([1, 1, 1, 1, 1]).double())  # within half a unit
    assert_close(fine[0, 9], torch.tensor(math.exp(-0.5)).double())
    assert_close(reach, reach.T)


class Quadrant(nn.Module):
    """Four classes, each the roughness of one quadrant, which a blur takes away."""

    def forward(self, images: Tensor) -> Tensor:
        cells = [half for row in images.chunk(2, 2) for half in row.chunk(2, 3)]
        return torch.stack([cell.square().mean((1, 2, 3)) for cell in cells], 1)


def test_lights_the_quadrant_that_the_net_looks_at() -> None:
    """Its mask has the area that was asked for, nearly all of it in the quadrant, whatever the score's scale."""
    images = image(1, 16, 16, seed=1, dtype=torch.float64)
    found = sightline.maps(Quadrant(), images, [[0, 1, 2, 3]], method=perturbation(steps=100))[0]
    quadrants = nn.functional.avg_pool2d(found[:, None], 4).flatten(1) * 16
    assert_close(found.sum((1, 2)), torch.full((4,), 16.0).double(), rtol=0.06, atol=0)
    assert (quadrants.diagonal() > 0.94 * found.sum((1, 2))).all()

    class Loud(Quadrant):
        def forward(self, images: Tensor) -> Tensor:
            return 1000 * super().forward(images)

    loud = sightline.maps(Loud(), images, [[0, 1, 2, 3]], method=perturbation(steps=100))[0]
    assert_close(loud, found, rtol=1e-3, atol=1e-5)


def test_adds_up_its_areas_and_smooths_the_sum() -> None:
    model, images = seeded(Deep).double(), 2 * image(1, 10, 12, seed=4, dtype=torch.float64)
    one, other = (sightline.maps(model, images, 1, method=perturbation(areas=(area,))) for area in (0.1, 0.4))
    both = sightline.maps(model, images, 1, method=perturbation(areas=(0.1, 0.4)))
    assert both.shape == (1, 8, 8)
    assert_close(both, one + other)
    smooth = sightline.maps(model, images, 1, method=perturbation(areas=(0.1, 0.4), smooth=0.2))
    assert_close(smooth, _by_loops(both[0], 0.2 * 8)[None])


def _by_loops(plane: Tensor, sigma: float) -> Tensor:
    side = torch.arange(len(plane)).double()
    weights = torch.exp(-((side - side[:, None]) ** 2) / (2 * sigma**2))
    weights = weights / weights.sum(1, keepdim=True)
    return torch.einsum("yv,xu,vu->yx", weights, weights, plane)


def test_zeros_where_the_blur_changes_nothing() -> None:
    found = sightline.maps(_Deaf(), image(1, 9, 9), 0, method=perturbation())
    assert torch.equal(found, torch.zeros(1, 8, 8))


class _Deaf(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 0 * images.mean((2, 3)) + 3


def test_a_batch_is_its_images_one_by_one() -> None:
    model, images = seeded(Deep).double(), 2 * image(3, 9, 9, seed=5, dtype=torch.float64)
    found = sightline.maps(model, images, [0, 1, 2], method=perturbation())
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, method=perturbation())
        assert_close(found[i : i + 1], alone, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": ()}, "areas between 0 and 1"), ({"areas": (0.1, 1.0)}, "areas between 0 and 1"),
        ({"areas": 0.1}, "areas between 0 and 1"), ({"steps": 0}, "1 step or more"), ({"rate": 0.0}, "1 step or more"),
        ({"cells": 0}, "1 step or more"), ({"smooth": -1.0}, "1 step or more"),
    ],
)  # fmt: skip
def test_refuses_what_cannot_be_searched(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        sightline.maps(seeded(Deep), image(1, 9, 9), 0, method=perturbation(**options))
