"""The attack's loop against steps that can be counted by hand: a linear score, whose gradient is known."""

import pytest
import torch
from nets import Trained, image, seeded
from torch import Tensor, nn

from sightline import engine
from sightline.errors import CutOff, ModelError

WEIGHTS = torch.tensor([2.0, -0.5, 0.0, 1e-6])


class Linear(nn.Module):
    """Pictures (n, 4) -> scores (n, 1), linear; remembers how many pictures each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(WEIGHTS.clone())
        self.seen: list[int] = []

    def forward(self, pictures: Tensor) -> Tensor:
        self.seen.append(len(pictures))
        return (pictures * self.weights).sum(1, keepdim=True)


def climb(model: nn.Module, start: Tensor, *, low: float = -9.0, high: float = 9.0, **options: object) -> object:
    settled = {
        "image_of": lambda pictures: pictures,
        "scores_of": lambda output: output[:, 0],
        "done": lambda output: torch.zeros(len(output), dtype=torch.bool),
        "step": 1.0,
        "steps": 3,
    } | options
    return engine.attacked(model, start, torch.full_like(start, low), torch.full_like(start, high), **settled)


def test_each_step_follows_the_signs_of_the_gradient() -> None:
    found, taken = climb(Linear(), torch.zeros(2, 4), step=0.5)
    assert found.tolist() == [[1.5, -1.5, 0.0, 1.5]] * 2
    assert taken.tolist() == [3, 3]


def test_the_bounds_hold_value_by_value() -> None:
    start = torch.tensor([[0.0, 0.0, 0.0, 0.75]])
    found, taken = climb(Linear(), start, low=-2.0, high=1.0, steps=5)
    assert found.tolist() == [[1.0, -2.0, 0.0, 1.0]]
    assert taken.tolist() == [5]
    low, high = torch.tensor([[-1.0, -3.0, -1.0, -1.0]]), torch.tensor([[4.0, 1.0, 1.0, 2.0]])
    bounded, _ = engine.attacked(
        Linear(), start, low, high, lambda x: x, lambda y: y[:, 0], lambda y: y[:, 0] > 99, step=1.0, steps=5
    )
    assert bounded.tolist() == [[4.0, -3.0, 0.0, 2.0]]


def test_bounds_belong_to_their_picture_also_after_others_have_arrived() -> None:
    start = torch.tensor([[5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    low, high = torch.tensor([[-9.0] * 4, [-1.0] * 4]), torch.tensor([[9.0] * 4, [2.0] * 4])
    found, taken = engine.attacked(
        Linear(), start, low, high, lambda x: x, lambda y: y[:, 0], lambda y: y[:, 0] > 9, step=1.0, steps=4
    )
    assert found.tolist() == [[5.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.0, 2.0]]
    assert taken.tolist() == [0, 4]


def test_a_picture_that_has_arrived_is_left_alone_and_not_shown_again() -> None:
    """A step is worth 2.5 to the score: from 0 and from 4.9 it takes three steps and one to get above 7."""
    model = Linear()
    start = torch.tensor([[0.0] * 4, [2.45, 0.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0]])
    found, taken = climb(model, start, done=lambda output: output[:, 0] > 7, steps=9)
    assert taken.tolist() == [3, 1, 0]
    assert found[:, 0].tolist() == pytest.approx([3.0, 3.45, 4.0])
    assert model.seen == [3, 2, 1, 1]


def test_the_gradient_goes_through_what_makes_images_of_pictures() -> None:
    found, _ = climb(Linear(), torch.zeros(1, 4), image_of=lambda pictures: 3 - 2 * pictures)
    assert found.tolist() == [[-3.0, 3.0, 0.0, -3.0]]


@pytest.mark.parametrize("inference", [False, True])
def test_what_was_given_stays_as_it_was(inference: bool) -> None:
    net = seeded(Trained).train()
    net.head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode(inference):
        start = image(2)
        given, state = start.clone(), torch.get_rng_state()
        found, taken = climb(net, start, scores_of=lambda output: output[:, 1])
    assert torch.equal(start, given)
    assert not found.requires_grad
    assert taken.tolist() == [3, 3]
    assert not torch.equal(found, start)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not net.head.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_score_without_a_gradient_is_named() -> None:
    for scores_of in (lambda output: torch.ones(2), lambda output: output[:, 0].detach()):
        with pytest.raises(CutOff, match="nothing to climb"):
            climb(Linear(), torch.zeros(2, 4), scores_of=scores_of)
    with pytest.raises(CutOff, match="nothing to climb"):
        climb(Linear(), torch.zeros(2, 4), image_of=torch.zeros_like, scores_of=lambda output: output[:, 0])


def test_a_model_that_fails_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="Trained failed"):
        climb(seeded(Trained), torch.zeros(1, 4))
