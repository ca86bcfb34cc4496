"""Checks: nets and methods that are known to deserve belief, or not to."""

import numpy as np
import pytest
import torch
from test_evaluation import SIDE, Squares, net
from torch import Tensor, nn

import sightline
from sightline.errors import ModelError
from sightline.methods.controls import CONTROLS
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.targets import Labels
from sightline.types import Kind, Maps, Method, Questions


class Textured(nn.Module):
    """Logits are means of features behind two random convolutions, trained on nothing but different for each class."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])
            self.features[0].bias.zero_()
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3) + 0.01 * torch.randn(3, 3, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


def model() -> Model:
    plain = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Model(module=Textured().eval(), name="squares", preprocess=plain, labels=Labels(("red", "green", "blue")))


def test_a_map_of_what_the_class_rests_on_gives_no_reason_for_doubt() -> None:
    sample = Squares()[3]
    verdict = sightline.explain(model(), sample.picture, sample.truths[0].label).check()
    by_name = {check.name: check for check in verdict.checks}
    assert by_name["class"].passed
    assert by_name["hiding"].passed
    assert verdict.words.startswith(("no reason for doubt", "don't believe it"))


def test_the_same_map_for_every_class_is_not_believed() -> None:
    sample = Squares()[3]
    centre = next(row for row in CONTROLS if row.name == "centre")
    verdict = sightline.explain(model(), sample.picture, "red", method=centre).check()
    assert not verdict.believed
    assert verdict.words.startswith("don't believe it: other classes have the same map (rank correlation 1.00")
    assert "a net without its weights has the same map (rank correlation 1.00)" in verdict.words


def against(ask: Questions) -> Maps:
    """Everything but what the class rests on."""
    return 1.0 - ask.image.mean(1, keepdim=True).expand(-1, ask.scores.shape[1], -1, -1)


def test_marks_whose_hiding_changes_nothing_are_not_believed() -> None:
    sample = Squares()[2]
    idle = Method("idle", against, "here", "the rest of the picture", kind=Kind.ASKING, layered=False, backwards="0")
    verdict = sightline.explain(model(), sample.picture, sample.truths[0].label, method=idle).check()
    hiding = verdict.checks[-1]
    assert hiding.passed is False
    assert "hiding the fifth that it marks takes the score from" in verdict.words


def test_marks_that_count_less_than_other_places_are_not_believed() -> None:
    """The faint half is red too, so hiding it lowers the score; hiding as much of the bright half lowers it more."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, 0], pixels[:, SIDE // 2 :, 0] = 200, 50
    faint = Method("faint", against, "here", "what is dark", kind=Kind.ASKING, layered=False, backwards="0")
    hiding = sightline.explain(model(), pixels, "red", method=faint).check().checks[-1]
    assert hiding.passed is False
    assert hiding.said.startswith("hiding the fifth that it marks takes the score from 0.488 to 0.449")


def test_an_empty_map_is_not_believed() -> None:
    sample = Squares()[2]
    absent = next(colour for colour in ("red", "green", "blue") if colour != sample.truths[0].label)
    verdict = sightline.explain(net(), sample.picture, absent).check()
    assert not verdict.believed
    assert verdict.words == "don't believe it: it marks nothing: the map is nowhere above zero"


def test_questions_other_than_one_class_are_checked_too() -> None:
    sample = Squares()[3]
    this, that = (truth.label for truth in sample.truths)
    why = sightline.explain(model(), sample.picture, [f"{this}-vs:{that}", f"not:{that}", this])
    for one in why:
        assert len(one.check().checks) in (1, 3)
    assert why[2].check() == sightline.explain(model(), sample.picture, this).check()

    def brightness(output: Tensor) -> Tensor:
        return output.sum(1)

    verdict = sightline.explain(model(), sample.picture, brightness).check()
    assert verdict.checks[0].passed is None
    assert "no class" in verdict.checks[0].said


def test_checking_repeats_and_leaves_the_model_alone() -> None:
    sample, asked = Squares()[3], model()
    before = {name: value.clone() for name, value in asked.module.state_dict().items()}
    why = sightline.explain(asked, sample.picture)
    assert why.check() == why.check()
    assert all(torch.equal(value, before[name]) for name, value in asked.module.state_dict().items())


def test_the_best_class_stays_the_one_that_was_asked_about() -> None:
    """Asked for the best class of a picture; copies and covered pictures would have others."""
    sample = Squares()[2]
    best = sightline.explain(model(), sample.picture)
    named = sightline.explain(model(), sample.picture, sample.truths[0].label)
    assert best.check() == named.check()


def test_a_loaded_explanation_has_no_model_to_check_it_in(tmp_path) -> None:
    sightline.explain(model(), Squares()[2].picture).save(tmp_path)
    with pytest.raises(ModelError, match="has no model to check it in; explain it again"):
        sightline.Explanation.load(tmp_path).check()
