"""Occlusion against the definition written as loops, against cases solved by hand, and against captum."""

from typing import Any

import pytest
import torch
from nets import Deep, Pooled, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method

FILLS = ["zero", "mean", "blur"]


def pictures(n: int = 2) -> Tensor:
    return 3 * image(n, 9, 12, seed=3, dtype=torch.float64) + 1


def occlusion(**options: Any) -> Any:
    return method("occlusion").set(**{"window": 4, "stride": 3, **options})


def blurred(picture: Tensor) -> Tensor:
    """Each pixel the mean of its column, then of its row, with Gaussian weights; only pixels that there are count."""
    sigma = 0.09 * min(picture.shape[1:])
    for axis in (1, 2):
        places = torch.arange(picture.shape[axis], dtype=torch.float64)
        lines = []
        for place in places:
            weights = torch.exp(-((places - place) ** 2) / (2 * sigma**2))
            shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
            lines.append((picture * weights.view(shape)).sum(axis) / weights.sum())
        picture = torch.stack(lines, axis)
    return picture


def covering(picture: Tensor, fill: str) -> Tensor:
    if fill == "zero":
        return torch.zeros_like(picture)
    if fill == "mean":
        return picture.flatten(1).mean(1)[:, None, None].expand_as(picture)
    return blurred(picture)


@torch.no_grad()
def by_loops(model: nn.Module, picture: Tensor, target: int, window: int, stride: int, fill: str) -> Tensor:
    """Pixel by pixel, the mean of what the score loses to each window that covers it."""
    plain = model(picture[None])[0, target]
    losses: dict[tuple[int, int], list[Tensor]] = {}
    height, width = picture.shape[1:]
    top = 0
    while True:
        left = 0
        while True:
            covered = picture.clone()
            inside = (slice(None), slice(top, top + window), slice(left, left + window))
            covered[inside] = covering(picture, fill)[inside]
            loss = plain - model(covered[None])[0, target]
            for y in range(top, min(top + window, height)):
                for x in range(left, min(left + window, width)):
                    losses.setdefault((y, x), []).append(loss)
            if left + window >= width:
                break
            left += stride
        if top + window >= height:
            break
        top += stride
    return torch.stack([torch.stack(losses[y, x]).mean() for y in range(height) for x in range(width)]).view(
        height, width
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("window", "stride"), [(4, 3), (3, 3), (5, 2), (9, 4)])
def test_equals_the_definition(window: int, stride: int, fill: str) -> None:
    """Also where the last window hangs over the border, and where it covers a side as a whole."""
    model, images, targets = seeded(Deep).double(), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, method=occlusion(window=window, stride=stride, fill=fill))
    true = [by_loops(model, images[n], k, window, stride, fill) for n in range(2) for k in targets[n]]
    assert_close(found, torch.stack(true).view(2, 2, 9, 12), rtol=1e-9, atol=1e-12)


class Linear(nn.Module):
    """The sum of weights times pixels, twice: the second class is the first, negated."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        score = (self.weights * images).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


def test_by_hand() -> None:
    """Of w x = [[1, -2, 3], [0, 4, 0]], windows of 2 lose 1 - 2 + 0 + 4 = 3 and -2 + 3 + 4 + 0 = 5, the middle 4."""
    picture = torch.tensor([[1.0, -2, 3], [0, 4, 0]]).double().view(1, 1, 2, 3)
    model = Linear(torch.ones(1, 2, 3).double())
    found = sightline.maps(model, picture, [[0, 1]], method=occlusion(window=2, stride=1))[0]
    expected = torch.tensor([[3.0, 4, 5], [3, 4, 5]]).double()
    assert_close(found, torch.stack([expected, -expected]))


def test_of_a_linear_net_it_is_the_sum_over_the_window() -> None:
    """Windows that don't overlap: each pixel shows the sum of w x over its window."""
    weights, images = image(1, 8, 12, seed=1, dtype=torch.float64)[0], image(2, 8, 12, dtype=torch.float64)
    found = sightline.maps(Linear(weights), images, 0, method=occlusion(window=4, stride=4))
    sums = nn.functional.avg_pool2d((weights * images).sum(1, keepdim=True), 4)[:, 0] * 16
    assert_close(found, sums.repeat_interleave(4, 1).repeat_interleave(4, 2))


def test_an_even_image_loses_nothing_to_its_mean_and_its_blur() -> None:
    for fill in ("mean", "blur"):
        found = sightline.maps(seeded(Deep).double(), 2 + 0 * pictures(), 1, method=occlusion(fill=fill))
        assert_close(found, torch.zeros(2, 9, 12).double(), rtol=0, atol=1e-12)


def test_covers_what_a_single_window_misses() -> None:
    """One pixel more than the window: there's a second place, and every pixel has a value."""
    found = sightline.maps(seeded(Pooled).double(), pictures(), 1, method=occlusion(window=8, stride=8))
    assert found.isfinite().all()
    assert (found[:, 8] != found[:, 7]).all()


def test_memory_and_result_dont_depend_on_how_many_fit_in_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = seeded(Deep).double(), pictures()
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = sightline.maps(model, images, 1, method=occlusion(window=2, stride=1))
    assert max(seen) <= 16
    monkeypatch.setattr(sightline.asking, "AT_ONCE", 6)
    assert_close(sightline.maps(model, images, 1, method=occlusion(window=2, stride=1)), found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"window": 10}, {"stride": 5}, {"stride": 0}, {"window": 0, "stride": 0}, {"window": -1}]
)
def test_refuses_windows_that_dont_fit(options: dict[str, int]) -> None:
    with pytest.raises(MethodError, match=r"got stride=.*, window=.* and 9 x 12 pixels; set both to fit"):
        sightline.maps(seeded(Pooled).double(), pictures(), 0, method=occlusion(**options))


def test_refuses_an_unknown_fill() -> None:
    with pytest.raises(MethodError, match="'zero', 'mean' or 'blur', not 'pink'"):
        sightline.maps(seeded(Pooled).double(), pictures(), 0, method=occlusion(fill="pink"))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("window", "stride"), [(4, 3), (5, 2), (9, 4)])
def test_equals_captum(window: int, stride: int, fill: str) -> None:
    captum = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images, targets = seeded(Deep).double(), pictures(), [3, 1]
    theirs = captum.Occlusion(model).attribute(
        images,
        target=torch.tensor(targets),
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        baselines=torch.stack([covering(picture, fill) for picture in images]),
    )
    found = sightline.maps(model, images, targets, method=occlusion(window=window, stride=stride, fill=fill))
    assert_close(found[:, None].expand(-1, 3, -1, -1), theirs.double(), rtol=1e-5, atol=1e-7)
