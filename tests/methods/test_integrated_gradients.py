"""Integrated gradients against plain sums along the path, its completeness, captum, and the warning."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import Pooled, image, roughened, seeded
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import resnet18

import sightline
from sightline.errors import MethodError
from sightline.methods.integrated_gradients import CompletenessWarning, blank_image, incompleteness

METHOD = sightline.methods.method("integrated-gradients")


def smooth(seed: int = 0) -> nn.Module:
    """A small net with a SiLU and a tanh, no kinks."""
    parts = lambda: (nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))  # noqa: E731
    return seeded(lambda: nn.Sequential(*parts()), seed).double()


def gradients(model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[range(len(images)), targets].sum(), leaf)[0]


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_equals_the_papers_sum_with_many_steps(baseline: str) -> None:
    """Eq. 3 in its own indices, at the steps' middles and with so many that it is the integral."""
    model, images, targets, steps = smooth(), image(2, 5, 6, dtype=torch.float64), [2, 0], 1000
    true = torch.zeros(2, 5, 6, dtype=torch.float64)
    for n in range(2):
        blank = torch.zeros(3, 5, 6, dtype=torch.float64)
        for c in range(3):
            if baseline == "mean":
                blank[c] = sum(images[n, c].flatten().tolist()) / 30
        total = torch.zeros(3, 5, 6, dtype=torch.float64)
        for k in range(steps):
            place = blank + (k + 0.5) / steps * (images[n] - blank)
            total += gradients(model, place[None], targets[n : n + 1])[0] / steps
        for c in range(3):
            true[n] += (images[n, c] - blank[c]) * total[c]
    found = sightline.maps(model, images, targets, method=METHOD.set(baseline=baseline))
    assert_close(found, true, rtol=1e-5, atol=1e-7)
    few = sightline.maps(model, images, targets, method=METHOD.set(baseline=baseline, steps=12))
    assert_close(few, found, rtol=1e-6, atol=1e-8)  # smooth: quadrature needs few


def test_by_hand() -> None:
    """score = red^3: int_0^1 3 (t r)^2 dt r = r^3 in two steps; captum's middle rule would need thousands."""
    images = torch.tensor([[[[1.0, -2]], [[1, 0]], [[7, 7]]]], dtype=torch.float64)
    found = sightline.maps(nn.Identity(), images, lambda out: (out[:, 0] ** 3).sum((1, 2)), method=METHOD.set(steps=2))
    assert_close(found, torch.tensor([[[1.0, -8]]], dtype=torch.float64))


@given(st.integers(0, 2**31), st.sampled_from(["zero", "mean"]))
def test_sums_to_the_scores_difference(seed: int, baseline: str) -> None:
    model, images = smooth(seed), image(2, 5, 6, seed=seed, dtype=torch.float64)
    found = sightline.maps(model, images, [[0, 1, 2]] * 2, method=METHOD.set(steps=20, baseline=baseline))
    scores, blank = model(images).detach(), model(blank_image(images, baseline)).detach()
    assert_close(found.sum((2, 3)), scores - blank, rtol=1e-6, atol=1e-8)
    assert incompleteness(found, scores, blank).max() < 1e-6


@given(st.integers(0, 2**31))
def test_nearly_sums_to_the_difference_over_kinks(seed: int) -> None:
    model, images = seeded(Pooled, seed).double(), image(2, 6, 6, seed=seed, dtype=torch.float64)
    found = sightline.maps(model, images, 1, method="integrated-gradients")
    scores, blank = (model(each).detach()[:, 1] for each in (images, torch.zeros_like(images)))
    assert_close(found.sum((1, 2)), scores - blank, rtol=0.01, atol=0.01)


def test_warns_just_where_it_is_incomplete() -> None:
    model, images = roughened(seeded(lambda: resnet18(num_classes=10))), image(1, 40, 40)
    scores, blank = (model(each).detach()[:, 1] for each in (images, torch.zeros_like(images)))
    heard = []
    for steps in (1, 2, 4, 8, 16):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = sightline.maps(model, images, 1, method=METHOD.set(steps=steps))
        heard.append(bool(said))
        assert heard[-1] == bool(abs(found.sum() - scores + blank) > 0.05 * max(abs(scores), abs(blank)))
    assert heard[0]
    assert not heard[-1]


def test_a_path_over_a_cliff_is_warned_of_and_more_steps_help() -> None:
    """score = 1000 relu(red - 0.99): the gradient is 1000 on the last hundredth of the way from 0 to 1."""
    images = torch.zeros(2, 3, 1, 1)
    images[1, 0] = 1
    asked = lambda out: 1000 * (out[:, 0].mean((1, 2)) - 0.99).relu()  # noqa: E731
    with pytest.warns(
        CompletenessWarning, match=r"image 1, target 0 sum to 0, and .* from 0 to 10: off by 100%; .* steps=3"
    ):
        sightline.maps(nn.Identity(), images, asked, method=METHOD.set(steps=3))
    found = sightline.maps(nn.Identity(), images, asked, method=METHOD.set(steps=2000))
    assert_close(found[1], torch.tensor([[10.0]]), rtol=0.01, atol=0)
    assert not found[0].any()


def test_incompleteness_by_hand() -> None:
    maps = torch.tensor([[[1.0, -3]], [[0, 0]], [[1, 0]], [[2, 2]]])
    found = incompleteness(maps, torch.tensor([0.0, 0, 0, 3]), torch.tensor([4.0, 0, 0, -1]))
    assert_close(found, torch.tensor([0.5, 0, torch.inf, 0]))


@pytest.mark.parametrize(
    ("options", "message"), [({"steps": 0}, "steps=0"), ({"baseline": "black"}, "'zero' or 'mean', not 'black'")]
)
def test_what_makes_no_path_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        sightline.maps(smooth(), image(1, 5, 6, dtype=torch.float64), 0, method=METHOD.set(**options))


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_equals_captum(steps: int) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    for model in (smooth(), seeded(Pooled).double()):
        images = image(3, 5, 6, dtype=torch.float64)
        theirs = attr.IntegratedGradients(model).attribute(images, target=[2, 0, 1], n_steps=steps).sum(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompletenessWarning)
            ours = sightline.maps(model, images, [2, 0, 1], method=METHOD.set(steps=steps))
        assert_close(ours, theirs)


def test_captum_says_nothing_where_the_path_was_too_coarse() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    cliff = lambda images: 1000 * (images[:, :1].mean((2, 3)) - 0.99).relu()  # noqa: E731
    images = torch.ones(1, 3, 1, 1)
    theirs = attr.IntegratedGradients(cliff).attribute(images, target=0, n_steps=3)
    assert not theirs.any()
