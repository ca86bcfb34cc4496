"""Seed mIoU by hand, against a plain confusion matrix, and at its limits."""

import numpy as np
import pytest
import torch
from given import given
from PIL import Image
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.seed_miou import (
    CURVE,
    best_background,
    best_miou,
    by_background,
    miou,
    seed_miou,
)
from sightline.trials import Sample, Truth

LEFT = np.array([[1, 1, 0, 0, 0]] * 2) > 0
RIGHT = np.array([[0, 0, 0, 1, 1]] * 2) > 0


class Part(Toy):
    """One of a picture's trials, that knows the picture's other truths."""

    truths: tuple[Truth, ...] = ()

    @property
    def sample(self) -> Sample:
        return Sample("toy", Image.new("RGB", self.size), self.truths)


def trials(*given: tuple[str, torch.Tensor, Truth], others: tuple[Truth, ...] = ()) -> list[Part]:
    parts = []
    for label, raw, truth in given:
        part = Part(raw, truth, label, image=torch.zeros(3, *raw.shape))
        part.truths = (*(each for _, _, each in given), *others)
        parts.append(part)
    return parts


def lit(mask: np.ndarray, value: float = 1.0) -> torch.Tensor:
    return value * torch.from_numpy(mask).float()


def folded(*pictures: list[Part]) -> tuple[np.ndarray, list[str]]:
    rows = [row for picture in pictures for row in seed_miou(picture).items()]
    return np.array([values for _, values in rows]), [label for label, _ in rows]


def test_counts_by_hand() -> None:
    cat = torch.tensor([[10.0, 1.0, 2.0, 0.0, 6.0], [10.0, 10.0, 0.0, 0.0, 0.0]])
    dog = torch.tensor([[0.0, 0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 2.0, 0.2]])
    found = seed_miou(trials(("cat", cat, Truth("cat", mask=LEFT)), ("dog", dog, Truth("dog", mask=RIGHT))))
    first = {label: values[:3].tolist() for label, values in found.items()}
    # cat  cat    at 0.15: 10, -, 2, -, 6   10, 10, -, -, -
    # dog         at 0.15: -, -, -, 2, -    -, -, -, 2, -      (6 / 10 is above 1 / 2, and 0.2 / 2 is too low)
    assert first == {"cat": [3, 2, 1], "dog": [2, 0, 2], "background": [1, 2, 1]}
    at_30 = {label: values.reshape(-1, 3)[1 + CURVE.index(0.3)].tolist() for label, values in found.items()}
    assert at_30 == {"cat": [3, 1, 1], "dog": [2, 0, 2], "background": [2, 2, 0]}
    at_05 = {label: values.reshape(-1, 3)[1 + CURVE.index(0.05)].tolist() for label, values in found.items()}
    assert at_05 == {"cat": [4, 2, 0], "dog": [3, 0, 1], "background": [1, 0, 1]}


@pytest.mark.parametrize("background", [0.0, 0.15, 0.42])
def test_by_a_plain_confusion_matrix(background: float) -> None:
    draw = np.random.default_rng(1)
    pictures, confusion = [], np.zeros((4, 4))
    names = ["background", "a", "b", "c"]
    for _ in range(3):
        truth = draw.integers(0, 4, (6, 8))
        chosen = [k for k in (1, 2, 3) if (truth == k).any()]
        maps = {k: draw.normal(size=(6, 8)).astype(np.float32) for k in chosen}
        pictures.append(
            trials(*((names[k], torch.from_numpy(maps[k]), Truth(names[k], mask=truth == k)) for k in chosen))
        )
        scores = np.stack([np.full((6, 8), background), *(maps[k].clip(0) / maps[k].max() for k in chosen)])
        guess = np.array([0, *chosen])[scores.argmax(0)]
        np.add.at(confusion, (truth.ravel(), guess.ravel()), 1)
    rows = [row for picture in pictures for row in seed_miou(picture, background=background).items()]
    found = miou(np.array([values for _, values in rows]), [label for label, _ in rows])
    right = confusion.diagonal()
    assert found == pytest.approx(100 * (right / (confusion.sum(0) + confusion.sum(1) - right)).mean())


def test_the_limits() -> None:
    cat, dog = Truth("cat", mask=LEFT), Truth("dog", mask=RIGHT)
    assert miou(*folded(trials(("cat", lit(LEFT, 9), cat), ("dog", lit(RIGHT, 0.1), dog)))) == pytest.approx(100)
    assert miou(*folded(trials(("cat", lit(RIGHT), cat), ("dog", lit(LEFT), dog)))) == pytest.approx(100 / 3)
    empty = folded(trials(("cat", torch.zeros(2, 5), cat), ("dog", -lit(RIGHT), dog)))
    assert miou(*empty) == pytest.approx(100 * (2 / 10) / 3)
    even = folded(trials(("cat", torch.ones(2, 5), cat), ("dog", torch.ones(2, 5), dog)))
    assert miou(*even) == pytest.approx(100 * (4 / 10) / 3)  # of equals the first class


def test_unseen_pixels_are_background() -> None:
    raw = lit(LEFT)
    raw[1] = np.nan
    found = seed_miou([given(raw, Truth("cat", mask=LEFT), label="cat")])
    assert found["cat"] is not None
    assert found["cat"][:3].tolist() == [2, 0, 2]


def test_what_any_truth_ignores_is_left_out() -> None:
    corner = np.zeros_like(LEFT)
    corner[0, 0] = corner[1, 2] = True
    crowd = Truth("dog", mask=np.zeros_like(LEFT), ignore=corner)
    found = seed_miou(trials(("cat", torch.ones(2, 5), Truth("cat", mask=LEFT)), others=(crowd,)))
    assert found["cat"] is not None
    assert found["cat"][:3].tolist() == [3, 5, 0]
    assert found["background"] is not None
    assert found["background"][:3].tolist() == [0, 0, 5]


def test_overlapping_truths_count_for_both() -> None:
    both = [("cat", lit(LEFT, 2), Truth("cat", mask=LEFT)), ("dog", lit(LEFT), Truth("dog", mask=LEFT))]
    found = seed_miou(trials(*both))
    assert [values[:3].tolist() for values in found.values() if values is not None] == [[4, 0, 0], [0, 0, 4], [6, 0, 0]]


def test_what_cannot_be_judged_or_asked() -> None:
    boxed = trials(("cat", lit(LEFT), Truth("cat", mask=LEFT)), ("dog", lit(RIGHT), Truth("dog", ((3, 0, 5, 2),))))
    assert seed_miou(boxed) == {"cat": None, "dog": None}
    assert seed_miou([]) == {}
    assert seed_miou([Toy(lit(LEFT))]) == {"thing": None}
    with pytest.raises(MetricError, match="0 to 1"):
        seed_miou(boxed, background=15)


def test_pixels_are_pooled_over_pictures_and_classes_averaged() -> None:
    one = trials(("cat", lit(LEFT), Truth("cat", mask=LEFT)))
    other = trials(("cat", lit(RIGHT), Truth("cat", mask=LEFT | RIGHT)))
    assert miou(*folded(one, other)) == pytest.approx(100 * (8 / 12 + 8 / 12) / 2)


def test_the_curve_and_the_best_of_it() -> None:
    raw = lit(LEFT) + lit(RIGHT, 0.32)
    values, labels = folded(trials(("cat", raw, Truth("cat", mask=LEFT))))
    wrong = 100 * (4 / 8 + 2 / 6) / 2
    assert miou(values, labels) == pytest.approx(wrong)
    rows = by_background(values, labels)
    assert rows[:, 0].tolist() == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6]
    assert rows[:, 1] == pytest.approx(np.array([wrong] * 6 + [100] * 6))
    assert best_miou(values, labels) == pytest.approx(100)
    assert best_background(values, labels) == 0.35


def test_a_class_that_is_nowhere_is_left_out_of_the_mean() -> None:
    hidden = Truth("cat", mask=np.zeros_like(LEFT))
    assert miou(*folded(trials(("cat", torch.zeros(2, 5), hidden)))) == pytest.approx(100)
