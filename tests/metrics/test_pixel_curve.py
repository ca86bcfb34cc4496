"""Insertion and deletion by hand, pixel by pixel in loops, and at their limits."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from linear import linear, noise
from torch import Tensor
from torch.nn.functional import interpolate
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.blank import blurred
from sightline.metrics.pixel_curve import area, confidence_by_share, deletion, insertion


def logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def auc(curve: Sequence[float] | None) -> float:
    assert curve is not None
    return area(np.array([curve]), ["thing"])


ONE = torch.ones(1, 2, 2)
SIGNED = torch.tensor([[[2.0, -1.0], [0.5, 1.0]]])  # highest first: 2, 1, 0.5, -1


def test_deletion_by_hand() -> None:
    """2.5 altogether; 0.5 after the first, -0.5 after the second, -1 after the third, and nothing."""
    curve = deletion(linear(SIGNED, ONE), steps=4)
    assert curve == pytest.approx([logistic(s) for s in (2.5, 0.5, -0.5, -1, 0)])
    halves = [logistic(s) for s in (2.5, -0.5, 0)]
    assert deletion(linear(SIGNED, ONE), steps=2) == pytest.approx(halves)
    assert auc(halves) == pytest.approx((halves[0] / 2 + halves[1] + halves[2] / 2) / 2)


def test_insertion_by_hand() -> None:
    curve = insertion(linear(SIGNED, ONE), steps=4, start="mean")
    assert curve == pytest.approx([logistic(s) for s in (0, 2, 3, 3.5, 2.5)])


def test_of_the_class_asked_about() -> None:
    trial = linear(SIGNED, ONE, index=1)
    assert deletion(trial, steps=2) == pytest.approx([1 - logistic(s) for s in (2.5, -0.5, 0)])


def by_loops(trial: Toy, step: int, start: Tensor, finish: Tensor) -> list[float]:
    """As RISE's code goes about it: `step` more of the pixels at a time, whatever is left in the last one."""
    image, width = start.clone(), trial.map.shape[1]
    pixels = sorted(range(trial.map.numel()), key=lambda at: -float(trial.map.flatten()[at]))
    found = [float(trial.confidence(image[None])[0])]
    for first in range(0, len(pixels), step):
        for pixel in pixels[first : first + step]:
            y, x = divmod(pixel, width)
            image[:, y, x] = finish[:, y, x]
        found.append(float(trial.confidence(image[None])[0]))
    return found


def crossed(images: Tensor) -> Tensor:
    """Two classes whose logits are no sum over pixels."""
    small = images.flatten(1)[:, ::7]
    return torch.stack([small.prod(1).abs().log().tanh(), small.std(1)], 1)


@pytest.mark.parametrize("steps", [5, 20, 60])
def test_equals_rises_way(steps: int) -> None:
    image, raw = noise(0, 3, 6, 10), noise(1, 6, 10)
    trial = Toy(raw, image=image, module=crossed)
    found = deletion(trial, steps=steps)
    assert found == pytest.approx(by_loops(trial, 60 // steps, image, torch.zeros_like(image)))
    found = insertion(trial, steps=steps)
    assert found == pytest.approx(by_loops(trial, 60 // steps, blurred(image), image))


def test_score_cams_variant_takes_a_hundredth_to_black() -> None:
    class Dark(Toy):
        def colour(self, red: float, green: float, blue: float) -> Tensor:
            return super().colour(red, green, blue) - 2

    image = noise(0, 3, 10, 10)
    trial = Dark(noise(1, 10, 10), image=image)
    black = torch.full_like(image, -2)
    assert deletion(trial, steps=100, fill="black") == pytest.approx(by_loops(trial, 1, image, black))
    assert insertion(trial, steps=100, start="black") == pytest.approx(by_loops(trial, 1, black, image))


def test_a_coarse_map_is_ordered_in_the_images_pixels() -> None:
    image, coarse = noise(0, 3, 8, 8), noise(1, 2, 2)
    wide = interpolate(coarse[None, None], (8, 8), mode="bilinear", align_corners=False)[0, 0]
    assert deletion(Toy(coarse, image=image)) == deletion(Toy(wide, image=image))


def test_steps_that_dont_divide_the_pixels_are_as_even_as_can_be() -> None:
    """Of 9 pixels 2, 4, 6 and 9 are gone after 1, 2, 3 and 4 quarters."""
    image = torch.ones(1, 3, 3)
    curve = deletion(linear(image, image, torch.arange(9.0).view(3, 3)), steps=4)
    assert curve == pytest.approx([logistic(9 - count) for count in (0, 2, 4, 6, 9)])


def test_the_model_is_asked_in_parts() -> None:
    sizes: list[int] = []

    def counted(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return crossed(images)

    deletion(Toy(noise(1, 8, 8), module=counted), steps=40)
    assert sizes == [16, 16, 9]


def test_the_areas_of_curves() -> None:
    """Trapezoids over shares from 0 to 1, and RISE's way to write them."""
    values = np.array([[1.0, 0.5, 0.25, 0.25], [0.0, 1.0, 1.0, 0.0]])
    by_hand = [(0.75 + 0.375 + 0.25) / 3, (0.5 + 1 + 0.5) / 3]
    assert area(values, ["a", "b"]) == pytest.approx(np.mean(by_hand))
    for row, expected in zip(values, by_hand):
        assert area(row[None], ["a"]) == pytest.approx(expected)
        assert (row.sum() - row[0] / 2 - row[-1] / 2) / 3 == pytest.approx(expected)
    assert confidence_by_share(values, ["a", "b"]).tolist() == [[0, 0.5], [1 / 3, 0.75], [2 / 3, 0.625], [1, 0.125]]


def test_the_contributions_of_a_linear_model_are_the_best_map_there_is() -> None:
    """Of all 24 orders of four pixels."""
    weights, image = noise(0, 1, 2, 2), noise(1, 1, 2, 2)
    every = [torch.tensor(order).float().view(2, 2) for order in itertools.permutations((1, 2, 3, 4))]
    trials = [linear(weights, image, raw) for raw in every]
    own = linear(weights, image)
    assert auc(deletion(own, steps=4)) == min(auc(deletion(trial, steps=4)) for trial in trials)
    inserted = [auc(insertion(trial, steps=4, start="mean")) for trial in trials]
    assert auc(insertion(own, steps=4, start="mean")) == max(inserted)
    worst = linear(weights, image, -own.raw)
    assert auc(insertion(worst, steps=4, start="mean")) == min(inserted)


def test_deleting_in_the_inverted_order_is_inserting_backwards() -> None:
    image, raw = noise(0, 3, 6, 6), noise(1, 6, 6)
    deleted = deletion(Toy(-raw, image=image, module=crossed), steps=12)
    inserted = insertion(Toy(raw, image=image, module=crossed), steps=12, start="mean")
    assert deleted is not None
    assert list(deleted[::-1]) == pytest.approx(inserted)


def test_only_the_order_counts() -> None:
    image, raw = noise(0, 3, 6, 6), noise(1, 6, 6)
    assert deletion(Toy(raw, image=image)) == deletion(Toy(100 * raw.exp(), image=image))


def test_equals_come_in_an_order_that_is_drawn() -> None:
    """Nothing is known of an even map: the mean over seeds is that over all 24 orders."""
    image = torch.tensor([[[1.0, 2.0], [-3.0, 0.5]]])
    weights = torch.ones_like(image)
    drawn = [deletion(linear(weights, image, torch.ones(2, 2), seed=seed), steps=4) for seed in range(600)]
    every = [
        deletion(linear(weights, image, torch.tensor(order).float().view(2, 2)), steps=4)
        for order in itertools.permutations((1, 2, 3, 4))
    ]
    assert len(set(drawn)) == len(set(every)) == 24
    assert_close(torch.tensor(drawn).mean(0), torch.tensor(every).mean(0), rtol=0, atol=0.03)
    again = [deletion(linear(weights, image, torch.ones(2, 2), seed=seed), steps=4) for seed in range(5)]
    assert again == drawn[:5]


def test_a_map_of_zeros_cant_be_judged_and_one_below_zero_can() -> None:
    image = noise(0, 3, 4, 4)
    assert deletion(Toy(torch.zeros(4, 4), image=image)) is None
    assert insertion(Toy(torch.zeros(2, 2), image=image)) is None
    raw = noise(1, 4, 4)
    assert deletion(Toy(raw - 10, image=image)) == deletion(Toy(raw, image=image))


def test_relative_to_the_images_own_confidence() -> None:
    trial = linear(SIGNED, ONE)
    own = logistic(2.5)
    assert deletion(trial, steps=4, relative=True) == pytest.approx(
        [logistic(s) / own for s in (2.5, 0.5, -0.5, -1, 0)]
    )
    assert insertion(trial, steps=4, start="mean", relative=True) == pytest.approx(
        [logistic(s) / own for s in (0, 2, 3, 3.5, 2.5)]
    )
    hopeless = linear(-1000 * ONE, ONE, ONE[0])
    assert deletion(hopeless, relative=True) is None
    assert insertion(hopeless, relative=True, start="mean") is None
    assert deletion(hopeless, steps=2) == (0, 0, 0.5)


def test_refuses_no_steps() -> None:
    for rule in (deletion, insertion):
        with pytest.raises(MetricError, match="take 1 step or more, got steps=0; leave it out for 28"):
            rule(linear(SIGNED, ONE), steps=0)


def test_the_authors_28_steps_unless_told() -> None:
    for rule in (deletion, insertion):
        curve = rule(linear(SIGNED, ONE))
        assert curve is not None
        assert len(curve) == 29
