"""Label randomisation: the rank correlation with the other model's map, and a refusal where there is none."""

import pytest
import torch
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.label_randomisation import label_randomisation

NOISE = torch.rand(5, 5)


def test_by_hand_and_limits() -> None:
    assert label_randomisation(Toy(torch.tensor([[1.0, 2, 3, 4]]), relabel=torch.tensor([[1.0, 30, 20, 400]]))) == (
        pytest.approx((1 - 12 / 60,))
    )
    assert label_randomisation(Toy(NOISE, relabel=NOISE.exp())) == pytest.approx((1,))
    assert label_randomisation(Toy(NOISE, relabel=-NOISE)) == pytest.approx((-1,))
    assert label_randomisation(Toy(NOISE, relabel=torch.zeros(5, 5))) is None
    assert label_randomisation(Toy(torch.ones(5, 5), relabel=NOISE)) is None


def test_without_such_a_model_it_is_refused() -> None:
    with pytest.raises(MetricError, match="random labels"):
        label_randomisation(Toy(NOISE))
