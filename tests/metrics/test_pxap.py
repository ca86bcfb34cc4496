"""PxAP by hand, against a plain sum over all thresholds, and at its limits."""

import numpy as np
import pytest
import torch
from toys import Toy

from sightline.errors import MetricError
from sightline.geometry import Framing
from sightline.metrics.pxap import average_precision, chance, pxap
from sightline.trials import Truth

SIDE = 224
OBJECT = np.zeros((SIDE, SIDE), dtype=bool)
OBJECT[50:150, 60:160] = True
SHARE = 100 * OBJECT.mean()


def trial(raw: torch.Tensor, mask: np.ndarray = OBJECT, ignore: np.ndarray | None = None) -> Toy:
    return Toy(raw, Truth("thing", mask=mask, ignore=ignore), image=torch.zeros(3, SIDE, SIDE))


def figure(*trials: Toy, step: float = 0.01) -> float:
    return average_precision(np.array([pxap(each, step=step) for each in trials]), ["a"] * len(trials))


def drawn(seed: int) -> torch.Tensor:
    return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) + 0.3 * torch.from_numpy(OBJECT)


def test_a_perfect_map_an_inverted_and_an_even_one() -> None:
    perfect = torch.from_numpy(OBJECT).float()
    assert figure(trial(perfect)) == pytest.approx(100)
    assert figure(trial(3 - 7 * perfect)) == pytest.approx(SHARE)
    for even in (torch.zeros(7, 7), torch.full((7, 7), 3.0), torch.full((7, 7), np.nan)):
        assert figure(trial(even)) == pytest.approx(SHARE)
        assert chance(np.array([pxap(trial(even))]), ["a"]) == pytest.approx(SHARE)


def test_pixels_are_counted_into_steps_the_last_at_one_itself() -> None:
    raw = torch.zeros(SIDE, SIDE)
    raw[50, 60:64] = torch.tensor([1.0, 0.999, 0.5, 0.49])
    raw[0, :3] = torch.tensor([1.0, 0.25, 0.2])
    found = pxap(trial(raw), step=0.25)
    assert found is not None
    inside, outside = found.reshape(2, 5).tolist()
    assert inside == [OBJECT.sum() - 4, 1, 1, 1, 1]
    assert outside == [(~OBJECT).sum() - 2, 1, 0, 0, 1]


@pytest.mark.parametrize("step", [0.01, 0.25])
def test_by_a_plain_sum_over_thresholds_of_all_pixels_of_all_pictures(step: float) -> None:
    other = np.roll(OBJECT, 40, axis=1)
    trials = [trial(drawn(0)), trial(5 * drawn(1) - 2, other)]
    scores, truths = [], []
    for each, mask in zip(trials, (OBJECT, other)):
        raw = each.raw.numpy()
        scores.append(((raw - raw.min()) / (raw - raw.min()).max()).ravel())
        truths.append(mask.ravel())
    score, true = np.concatenate(scores), np.concatenate(truths)
    area = before = 0.0
    for threshold in [1.0, *np.arange(0, 1, step)[::-1]]:
        chosen = score >= threshold
        recall = (chosen & true).sum() / true.sum()
        area += true[chosen].mean() * (recall - before)
        before = recall
    assert figure(*trials, step=step) == pytest.approx(100 * area)


def test_trials_are_pooled_not_averaged() -> None:
    small = np.zeros_like(OBJECT)
    small[:10, :10] = True
    perfect, wrong = trial(torch.from_numpy(OBJECT).float()), trial(1 - torch.from_numpy(small).float(), small)
    inside, outside = 10000, SIDE**2 - 100
    expected = 100 * (inside / (inside + outside) * 10000 / 10100 + (10100 / (2 * SIDE**2)) * 100 / 10100)
    assert figure(perfect, wrong) == pytest.approx(expected)


def test_what_is_ignored_is_left_out_but_for_the_objects_own_pixels() -> None:
    ignore = np.zeros_like(OBJECT)
    ignore[:, 100:] = True
    found = pxap(trial(drawn(2), ignore=ignore))
    assert found is not None
    inside, outside = found.reshape(2, -1).sum(1)
    assert inside == OBJECT.sum()
    assert outside == (~OBJECT & ~ignore).sum()


def test_unseen_pixels_count_as_the_lowest() -> None:
    raw = drawn(3)
    raw[:, :80] = np.nan
    found = pxap(trial(raw))
    assert found is not None
    assert found.sum() == SIDE**2
    assert found[0] >= OBJECT[:, :80].sum()


def test_masks_go_to_the_square_as_opencvs_nearest() -> None:
    cv2 = pytest.importorskip("cv2")
    draw = np.random.default_rng(0)
    for size in ((500, 375), (100, 301), (224, 640)):
        mask = draw.random(size[::-1]) < 0.5

        class Sized(Toy):
            @property
            def framing(self) -> Framing:
                return Framing.whole((2, 2))

        found = pxap(Sized(drawn(0), Truth("thing", mask=mask)))
        theirs = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
        assert found is not None
        assert (found == pxap(trial(drawn(0), theirs))).all()


def test_what_cannot_be_judged_or_asked() -> None:
    assert pxap(Toy(drawn(0))) is None
    assert pxap(Toy(drawn(0), Truth("thing", ((0, 0, 4, 4),)))) is None
    assert pxap(trial(drawn(0), np.zeros_like(OBJECT))) is None
    for step in (0, 1.5):
        with pytest.raises(MetricError, match="steps above 0"):
            pxap(trial(drawn(0)), step=step)
