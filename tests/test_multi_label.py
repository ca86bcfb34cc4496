"""Several labels in one picture: independent probabilities, and a map of its own for each.

A map points right where its peak lies in the object's box: frames and crescents are hollow, and are lit in the middle.
"""

from itertools import islice

import numpy as np
import pytest

import sightline
from sightline.datasets import open_data

SCENES = 40
AIM = 0.9


def box_of(mask: np.ndarray) -> tuple[int, ...]:
    down, across = np.nonzero(mask)
    return across.min(), down.min(), across.max(), down.max()


@pytest.fixture(scope="module")
def explained() -> list[tuple[sightline.Explanation, list[tuple[int, ...]]]]:
    """Scenes of two objects with the maps of their two classes, and the objects' boxes."""
    data, model = open_data("scenes:shapes:count=120:seed=5"), sightline.load("shapes", device="cpu")
    pairs = (sample for sample in (data[place] for place in range(len(data))) if len(sample.truths) == 2)
    return [
        (
            sightline.explain(model, sample.picture, [truth.label for truth in sample.truths]),
            [box_of(truth.mask) for truth in sample.truths],
        )
        for sample in islice(pairs, SCENES)
    ]


def test_two_objects_have_two_maps_each_on_its_own(explained: list) -> None:
    hits = swapped = 0
    for why, boxes in explained:
        for k in range(2):
            x, y = why[k].peak() or (0, 0)
            inside = [x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes]
            hits += inside[k]
            swapped += inside[1 - k]
    assert len(explained) == SCENES
    assert hits / (2 * SCENES) >= AIM
    assert swapped / (2 * SCENES) <= (1 - AIM) / 2


def test_the_maps_of_two_objects_differ(explained: list) -> None:
    likeness = [np.corrcoef(why[0].heat.ravel(), why[1].heat.ravel())[0, 1] for why, _ in explained]
    assert np.mean(likeness) < 0.3


def test_probabilities_are_independent(explained: list) -> None:
    sums = [sum(one.probability for one in why.predictions) for why, _ in explained]
    assert min(sums) > 0.5
    assert np.mean(sums) > 1.5, "two objects that are there are both likely"
    assert all(probability is not None for why, _ in explained for probability in why.probabilities)
