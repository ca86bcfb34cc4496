"""Complexity, and evidence: by hand, limits, and parity where a peer is given a map it takes as normalised."""

import pytest
import torch
from torch.testing import assert_close
from toys import Toy

from sightline.metrics.complexity import complexity
from sightline.metrics.evidence import evidence


def share(raw: torch.Tensor) -> float | None:
    found = complexity(Toy(raw, image=torch.zeros(3, 8, 6)))
    return None if found is None else found[0]


def test_by_hand() -> None:
    """4, 2 and 0 of 4 lit, and -4, which isn't: six of sixteen quarters."""
    raw = torch.zeros(8, 6)
    raw[:2], raw[2:4], raw[4:6] = 4, 2, -4
    assert share(raw) == pytest.approx((1 + 0.5) / 4)


def test_is_of_the_map_in_the_image() -> None:
    """Between the centres of a lit cell and a dark one values fall from 1 to 0, by a quarter a pixel."""
    column = torch.tensor([[1.0], [0.0]])
    assert share(column) == pytest.approx((1 + 1 + 7 / 8 + 5 / 8 + 3 / 8 + 1 / 8) / 8)


def test_limits() -> None:
    one = torch.zeros(8, 6)
    one[3, 3] = 7
    assert share(one) == pytest.approx(1 / 48)
    assert share(torch.full((8, 6), 0.2)) == pytest.approx(1)
    assert share(torch.zeros(8, 6)) is None
    assert share(-one) is None


def test_scale_doesnt_matter() -> None:
    raw = torch.rand(8, 6)
    assert share(1e-20 * raw) == pytest.approx(share(raw))
    assert share(1e20 * raw) == pytest.approx(share(raw))


def test_of_a_normalised_map_it_is_pytorch_grad_cams() -> None:
    arcc = pytest.importorskip("pytorch_grad_cam.metrics.arcc")
    raw = torch.rand(8, 6)
    lit = evidence(raw)
    assert lit is not None
    assert share(raw) == pytest.approx(float(arcc.Complexity()(lit[None].numpy())[0]), rel=1e-5)


def test_evidence_by_hand() -> None:
    found = evidence(torch.tensor([[-3.0, 0.5], [2, 0]]))
    assert found is not None
    assert_close(found, torch.tensor([[0, 0.25], [1, 0]]))
    for empty in (torch.zeros(2, 2), -torch.ones(2, 2)):
        assert evidence(empty) is None
