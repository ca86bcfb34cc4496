"""Signals drawn over their maps."""

import numpy as np
import pytest
import torch

from sightline.render import colour
from sightline.render.sheet import PAPER
from sightline.signals import MARGIN, drawn


def test_colours_lie_where_the_map_is_and_the_line_over_them() -> None:
    heat = torch.tensor([0.0, 0.0, 3.0, 0.0])
    shown = np.asarray(drawn(np.zeros(50), heat, size=(400 + 2 * MARGIN, 100))).astype(int)
    assert shown.shape == (100, 424, 3)
    top = shown[20, MARGIN : 400 + MARGIN]
    assert (top[:100] == PAPER).all()
    for at, value in ((250, 1.0), (200, 0.5), (300, 0.5)):  # the middle of the third of four cells, and its edges
        cover = 0.7 * value * (2 - value)
        true = cover * colour(np.array(value), "ember") + (1 - cover) * np.array(PAPER)
        np.testing.assert_allclose(top[at], true, atol=5)
    assert (shown[49:51, 200].sum(1) < 150).any()  # an even line is in the middle


def test_signed_maps_have_two_colours_and_channels_lie_below_each_other() -> None:
    signal = np.stack([np.arange(30.0), -np.arange(30.0)])
    shown = np.asarray(drawn(signal, np.array([1.0, 0.0, -1.0]), signed=True, size=(300, 80))).astype(int)
    assert shown.shape == (160, 300, 3)
    red, blue = shown[MARGIN + 2, MARGIN + 40], shown[MARGIN + 2, 300 - MARGIN - 40]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    dark = shown.sum(2) < 150
    assert dark[:40, 240:].any()
    assert not dark[40:80, 240:].any()
    assert dark[120:, 240:].any()


def test_the_peak_can_be_shared() -> None:
    one = np.asarray(drawn(np.zeros(9), np.array([0.0, 1.0]), peak=2.0))
    other = np.asarray(drawn(np.zeros(9), np.array([0.0, 5.0]), peak=10.0))
    assert (one == other).all()
    assert (np.asarray(drawn(np.zeros(9), np.zeros(3)))[0] == PAPER).all()


def test_other_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a signal \(1, 4\) and a map \(2, 2\)"):
        drawn(np.zeros(4), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="aren't finite"):
        drawn(np.zeros(4), np.array([np.nan]))
