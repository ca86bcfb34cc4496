"""Parameter randomisation: which layers are lost when, cases by hand, limits, and figures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.correlation import spearman
from sightline.metrics.parameter_randomisation import at_last, by_share, over_stages, parameter_randomisation
from sightline.metrics.similarity import ssim
from sightline.trials import in_image

NOISE = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(7, 7, generator=torch.Generator().manual_seed(1))


def judged(raw: Tensor, randoms: Callable[[float], Tensor], **options: Any) -> tuple[float, ...] | None:
    return parameter_randomisation(Toy(raw, randoms=randoms, image=torch.zeros(3, 28, 21)), **options)


def test_weights_are_lost_in_even_shares() -> None:
    lost = []

    def randoms(share: float) -> Tensor:
        lost.append(share)
        return NOISE + share * OTHER

    found = judged(NOISE, randoms)
    assert lost == [0.25, 0.5, 0.75, 1]
    assert found == tuple(spearman(NOISE, NOISE + share * OTHER) for share in lost)
    assert len(judged(NOISE, randoms, stages=1) or ()) == 1
    assert lost[4:] == [1]


def test_limits() -> None:
    assert judged(NOISE, lambda share: NOISE) == pytest.approx((1, 1, 1, 1))
    assert judged(NOISE, lambda share: -NOISE) == pytest.approx((-1, -1, -1, -1))
    assert judged(NOISE, lambda share: -NOISE, absolute=True) == pytest.approx((1, 1, 1, 1))
    found = judged(NOISE, lambda share: OTHER, stages=2)
    assert found is not None
    assert abs(found[0]) < 0.3


def test_absolute_by_hand() -> None:
    """-3 1 2 against 1 2 -3: ranks 0 1 2 and 1 2 0; as sizes 2 0 1 and 0 1 2."""
    own, other = torch.tensor([[-3.0, 1, 2]]), torch.tensor([[1.0, 2, -3]])
    assert judged(own, lambda share: other, stages=1) == pytest.approx((1 - 6 * 6 / 24,))
    own, other = torch.tensor([[-3.0, 1, 2]]), torch.tensor([[2.0, 1, -3]])
    assert judged(own, lambda share: other, stages=1) == pytest.approx((1 - 6 * 8 / 24,))
    assert judged(own, lambda share: other, stages=1, absolute=True) == pytest.approx((1 - 6 * 2 / 24,))


@pytest.mark.parametrize("absolute", [False, True])
def test_ssim_is_of_maps_in_the_image_over_their_largest_value(absolute: bool) -> None:
    found = judged(7 * NOISE, lambda share: 0.1 * OTHER, measure="ssim", stages=1, absolute=absolute)
    own, other = (each.abs() if absolute else each for each in (NOISE, OTHER))
    a, b = (in_image(each / each.abs().max(), (28, 21)) for each in (own, other))
    assert found is not None
    assert_close(found[0], ssim(a, b, span=1 if absolute else 2), rtol=1e-6, atol=0)
    assert judged(NOISE, lambda share: 3 * NOISE, measure="ssim", stages=2) == pytest.approx((1, 1))


@pytest.mark.parametrize("measure", ["spearman", "ssim"])
def test_a_constant_map_cant_be_judged_at_any_stage(measure: str) -> None:
    flat = torch.full((7, 7), 0.5)
    assert judged(flat, lambda share: NOISE, measure=measure) is None
    assert judged(NOISE, lambda share: torch.zeros(7, 7), measure=measure) is None
    assert judged(NOISE, lambda share: flat if share == 0.5 else OTHER, measure=measure) is None
    signs = NOISE.sign()
    assert judged(signs, lambda share: OTHER, absolute=True) is None


@pytest.mark.parametrize("options", [{"stages": 0}, {"measure": "hog"}], ids=str)
def test_other_options_are_refused(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(MetricError, match=f"{name}={value}"):
        judged(NOISE, lambda share: OTHER, **options)


def test_figures_by_hand() -> None:
    values = np.array([[1, 0.5, 0.25, 0], [0.5, 0.5, 0.25, 0.5]])
    assert at_last(values, ()) == 0.25
    assert over_stages(values, ()) == 3.5 / 8
    assert by_share(values, ()).tolist() == [[0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1, 0.25]]
