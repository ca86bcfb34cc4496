"""Average Drop by hand, against torchcam, and beside pytorch-grad-cam's figure of a like name."""

from typing import Any

import numpy as np
import pytest
import torch
from linear import linear, noise
from sure import sure
from torch import Tensor, nn
from toys import Toy

from sightline.metrics.average_drop import average_drop
from sightline.metrics.percent import percent


@pytest.mark.parametrize(
    ("before", "after", "drop"), [(0.8, 0.2, 0.75), (0.4, 0.3, 0.25), (0.4, 0.4, 0), (0.4, 0.9, 0), (0.5, 0, 1)]
)
def test_by_hand(before: float, after: float, drop: float) -> None:
    assert average_drop(sure(before, after)) == pytest.approx((drop,))


def test_the_figure_is_a_mean_in_per_cent() -> None:
    values = np.array([average_drop(sure(0.8, 0.2)), average_drop(sure(0.4, 0.3)), average_drop(sure(0.1, 0.9))])
    assert percent(values, ["a", "b", "b"]) == pytest.approx(100 / 3)


def test_limits() -> None:
    """All of the image loses nothing, which is no praise; none of what counts loses all."""
    weights = torch.zeros(1, 4, 4)
    weights[:, :2] = 5
    image = torch.ones(1, 4, 4)

    def drop(raw: Tensor, **options: Any) -> float:
        found = average_drop(linear(weights, image, raw), **options)
        assert found is not None
        return found[0]

    own = torch.sigmoid(torch.tensor(40.0))
    assert drop(weights[0]) == 0
    assert drop(torch.ones(4, 4)) == 0
    assert drop(5 - weights[0]) == pytest.approx(float((own - 0.5) / own))
    assert drop(weights[0], mask="half") == 0
    assert drop(5 - weights[0], mask="half") == pytest.approx(0.5)


def test_options_reach_the_explanation_map() -> None:
    """Half of an even map is muted, which changes nothing where black is the image's own colour."""
    even = sure(0.8, 0.2, torch.ones(3, 3))
    even.colour = lambda *_: torch.ones(3, 1, 1)  # type: ignore[method-assign]
    assert average_drop(even) == (0,)
    assert average_drop(even, mask="half") == pytest.approx((0.75,))
    assert average_drop(even, mask="half", fill="black") == (0,)
    assert average_drop(even, mask="min-max") is None


@pytest.mark.parametrize("empty", [torch.zeros(4, 4), -torch.ones(4, 4)])
def test_what_cant_be_judged(empty: Tensor) -> None:
    assert average_drop(sure(0.5, 0.2, empty)) is None
    assert average_drop(sure(0.0, 0.2)) is None


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return 5 * self.head(self.convolution(images).relu().mean((2, 3)))


@pytest.fixture
def net() -> Net:
    return Net().requires_grad_(False).eval()


def positive(seed: int) -> Tensor:
    """A map in the image's pixels, from 0 to 1."""
    raw = noise(seed, 8, 8).clamp(min=0)
    return raw / raw.max()


@pytest.mark.parametrize("seed", range(3))
def test_equals_torchcams(net: Net, seed: int) -> None:
    metrics = pytest.importorskip("torchcam.metrics", reason="torchcam isn't installed")
    image, raw = noise(seed, 3, 8, 8), positive(seed + 10)

    class Extractor:
        model = net

        def __call__(self, index: Any, scores: Any = None, normalized: bool = True, **_: Any) -> list[Tensor]:
            return [raw[None]]

        def fuse_cams(self, cams: list[Tensor]) -> Tensor:
            return cams[0]

        def _hooks_off(self) -> Any:
            return torch.no_grad()

    theirs = metrics.ClassificationMetric(Extractor(), lambda logits: logits.softmax(1))
    theirs.update(image[None], 2)
    found = average_drop(Toy(raw, index=2, image=image, module=net))
    assert found == pytest.approx((theirs.summary()["avg_drop"],), abs=1e-6)


def test_pytorch_grad_cams_is_another_figure(net: Net) -> None:
    """It is not divided by the confidence, and takes logits unless it is told otherwise."""
    peer = pytest.importorskip("pytorch_grad_cam.metrics.cam_mult_image", reason="pytorch-grad-cam isn't installed")
    target = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    image, raw = noise(1, 3, 8, 8), positive(10)
    before, after = net(torch.stack([image, image * raw]))
    index = int((before - after).argmax())
    sure_before, sure_after = before.softmax(0)[index], after.softmax(0)[index]

    def theirs(of: Any) -> float:
        return float(peer.DropInConfidence()(image[None], raw.numpy()[None], [of(index)], net)[0])

    lost = float(sure_before - sure_after)
    assert lost > 0.1
    found = average_drop(Toy(raw, index=index, image=image, module=net))
    assert found == pytest.approx((lost / float(sure_before),), abs=1e-6)
    assert theirs(target.ClassifierOutputSoftmaxTarget) == pytest.approx(lost, abs=1e-6)
    assert theirs(target.ClassifierOutputTarget) == pytest.approx(float((before - after)[index]), abs=1e-6)
