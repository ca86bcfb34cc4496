"""The image seen through its map, by each mask's name, by hand."""

import pytest
import torch
from linear import noise
from torch import Tensor
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.explanation_map import confidences


class Watched(Toy):
    """Keeps the image and the explanation map that the model was shown."""

    def confidence(self, images: Tensor) -> Tensor:
        self.shown = images
        return super().confidence(images)

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        return super().colour(red, green, blue) - 0.5


RAW = torch.tensor([[4.0, -1.0, 2.0], [0.0, 1.0, 3.0]])


def seen(raw: Tensor, mask: str, fill: str = "mean", image: Tensor | None = None, seed: int = 0) -> Tensor:
    trial = Watched(raw, image=torch.ones(3, *raw.shape) if image is None else image, seed=seed)
    found = confidences(trial, mask, fill)
    assert found == tuple(Toy.confidence(trial, trial.shown).tolist())
    assert len(trial.shown) == 2
    assert torch.equal(trial.shown[0], trial.image)
    return trial.shown[1]


def test_soft_is_the_positive_part_over_the_maximum() -> None:
    expected = torch.tensor([[1, 0, 0.5], [0, 0.25, 0.75]])
    assert_close(seen(RAW, "soft"), expected.expand(3, 2, 3))
    image = noise(0, 3, 2, 3)
    assert_close(seen(RAW, "soft", image=image), image * expected)


def test_half_mutes_half_of_the_pixels() -> None:
    """Of six, three are left: 4, 3 and 2."""
    assert_close(seen(RAW, "half"), torch.tensor([[1, 0, 0.5], [0, 0, 0.75]]).expand(3, 2, 3))
    five = torch.tensor([[1.0, 2, 3, 4, 5]])
    assert seen(five, "half")[0].count_nonzero() == 2
    assert seen(torch.ones(4, 4), "half")[0].sum() == 8


def test_half_shows_no_more_than_is_positive() -> None:
    sparse = torch.tensor([[0.0, -1, 0, 2], [-3, 0, 0, 0]])
    assert torch.equal(seen(sparse, "half"), seen(sparse, "soft"))


def test_half_draws_among_equals() -> None:
    """Two of the four: each pixel in half of the draws."""
    shown = torch.stack([seen(torch.ones(2, 2), "half", seed=seed)[0] for seed in range(400)])
    assert (shown.sum((1, 2)) == 2).all()
    assert_close(shown.mean(0), torch.full((2, 2), 0.5), rtol=0, atol=0.1)
    assert torch.equal(shown[7], seen(torch.ones(2, 2), "half", seed=7)[0])


def test_min_max_stretches_whatever_the_sign() -> None:
    assert_close(seen(RAW, "min-max"), torch.tensor([[1, 0, 0.6], [0.2, 0.4, 0.8]]).expand(3, 2, 3))
    assert torch.equal(seen(RAW - 10, "min-max"), seen(RAW, "min-max"))
    lit = RAW.clamp(min=0)
    assert torch.equal(seen(lit, "min-max"), seen(lit, "soft"))


def test_what_is_muted_goes_to_the_fill() -> None:
    """Black is -0.5 here: a quarter of the way from there to 1 is -0.125."""
    expected = torch.tensor([[1, -0.5, 0.25], [-0.5, -0.125, 0.625]])
    assert_close(seen(RAW, "soft", "black"), expected.expand(3, 2, 3))


def test_a_coarse_map_is_stretched_to_the_image() -> None:
    shown = seen(torch.tensor([[0.0, 1.0]]), "soft", image=torch.ones(3, 1, 4))
    assert_close(shown, torch.tensor([[0, 0.25, 0.75, 1]]).expand(3, 1, 4))


def test_what_has_no_explanation_map() -> None:
    for raw in (torch.zeros(3, 3), -torch.ones(3, 3)):
        assert confidences(Toy(raw), "soft", "mean") is None
        assert confidences(Toy(raw), "half", "mean") is None
    for even in (-1.0, 0.0, 1.0):
        assert confidences(Toy(torch.full((3, 3), even)), "min-max", "mean") is None
    assert confidences(Toy(torch.ones(3, 3)), "soft", "mean") is not None


def test_the_map_stays_as_it_was() -> None:
    raw = RAW.clone()
    for mask in ("soft", "half", "min-max"):
        seen(raw, mask)
    assert torch.equal(raw, RAW)


def test_refuses_other_names() -> None:
    with pytest.raises(MetricError, match="a mask of soft, half, min-max, not 'hard'"):
        confidences(Toy(RAW), "hard", "mean")
    with pytest.raises(MetricError, match="covered with .*, not 'grey'"):
        confidences(Toy(RAW), "soft", "grey")
