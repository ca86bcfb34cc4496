"""How few of the things around a creature matter to the model."""

import numpy as np
import pytest
import torch
from blocks import Blocks, blocks, spread

from sightline.metrics.background_independence import background_independence, of_all_things


@pytest.mark.parametrize(("x", "y", "expected"), [
    (0.0, 0.0, 2), (0.6, 0.0, 1), (0.6, 0.6, 0), (-5.0, 0.0, 2), (0.4, 0.0, 2),
])  # fmt: skip
def test_things_by_hand(x: float, y: float, expected: float) -> None:
    trial = blocks(spread(a=1), {"own": {"a": 10.0 - x - y, "x": x, "y": y}, "far": {}})  # 5 % of 10
    assert background_independence(trial) == (expected, 2)
    assert not any(gone & set("abcde") for gone in trial.parted.asked)


def test_it_is_of_the_class_asked_about() -> None:
    weights = {"far": {"x": 1.0, "y": 1.0}, "own": {"a": 10.0, "y": 5.0}}
    assert background_independence(blocks(spread(), weights, label="own", index=1)) == (1, 2)


def test_the_map_says_nothing_about_it() -> None:
    for raw in (spread(), spread(x=1), torch.full((8, 56), torch.nan)):
        assert background_independence(blocks(raw, {"own": {"x": 1.0}, "far": {}})) == (1, 2)


def test_without_things_there_is_nothing_to_judge() -> None:
    assert background_independence(blocks(spread(), {"own": {"a": 1.0}, "far": {}}, parted=Blocks(lost="xy"))) is None


def test_all_things_of_all_pictures_count_the_same() -> None:
    assert of_all_things(np.array([[0.0, 1.0], [3.0, 3.0]]), ["own", "own"]) == 0.75
