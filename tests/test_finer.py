"""Finer-CAM as a target: scores by hand, ties, phrases, and where the peers' definition differs."""

import pytest
import torch
from nets import Pooled, image, seeded
from torch import Tensor
from torch.testing import assert_close

import sightline
from sightline.errors import TargetError
from sightline.targets import Labels, Phrase, finer, phrase, question

LOGITS = torch.tensor([[0.0, 1.0, 5.0, 2.0, 4.5], [4.0, 3.0, -1.0, 3.5, 9.0]])
LABELS = Labels(("tabby, tabby cat", "tiger cat", "boxer", "great white shark", "bull mastiff"))


def by_hand(values: Tensor, index: int, rivals: int, strength: float) -> list[float]:
    """Finer-CAM's score in plain loops: the class less the mean of those that score most like it."""
    found = []
    for row in values.tolist():
        others = sorted((abs(value - row[index]), i) for i, value in enumerate(row) if i != index)[:rivals]
        found.append(row[index] - strength * sum(row[i] for _, i in others) / len(others))
    return found


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("rivals", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_equals_the_loops(index: int, rivals: int, strength: float) -> None:
    found = finer(index, rivals, strength)(LOGITS)
    assert_close(found, torch.tensor(by_hand(LOGITS, index, rivals, strength))[:, None])


def test_by_hand() -> None:
    """Of 5 the nearest are 4.5, 2 and 1, with a mean of 2.5; of -1 they are 3, 3.5 and 4, with one of 3.5."""
    assert_close(finer(2)(LOGITS), torch.tensor([[2.5], [-4.5]]))
    assert_close(finer([2, 4])(LOGITS), torch.tensor([[2.5], [9 - (4 + 3.5 + 3) / 3]]))
    assert_close(finer(-3)(LOGITS), finer(2)(LOGITS))


def test_the_gradient_goes_to_the_class_and_to_its_rivals_in_equal_parts() -> None:
    values = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(finer(2, strength=0.6)(values).sum(), values)
    assert_close(gradient, torch.tensor([[0, -0.2, 1, -0.2, -0.2], [-0.2, -0.2, 1, -0.2, 0]]))


def test_a_class_is_never_its_own_rival_and_ties_go_to_the_lower_index() -> None:
    values = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).requires_grad_()
    (gradient,) = torch.autograd.grad(finer(2, rivals=1)(values).sum(), values)
    assert_close(gradient, torch.tensor([[-1.0, 0, 1, 0]]))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("finer:boxer", [[2.5], [-4.5]]),
        ("FINER:2", [[2.5], [-4.5]]),
        ("not:finer:boxer", [[-2.5], [4.5]]),
        ([["boxer", "finer:boxer"], ["finer:tabby", "boxer-vs:tabby"]], [[5, 2.5], [4 - 5.5 / 3, -5]]),
        (["finer:boxer", "not:tabby"], [[2.5], [-4]]),
    ],
)
def test_phrases(target: object, expected: list[list[float]]) -> None:
    asking = question(target, LABELS, 2)
    assert_close(asking.scores(LOGITS), torch.tensor(expected))
    assert asking.columns(LOGITS) is None


@pytest.mark.parametrize(
    ("target", "name", "index"),
    [("finer:tabby cat", "tabby, finer", 0), ("not:finer:boxer", "against boxer, finer", 2)],
)
def test_in_words(target: str, name: str, index: int) -> None:
    (asked,) = question(target, LABELS, 1).asked(LOGITS[:1], LOGITS[:1, :1])[0]
    assert (asked.name, asked.index) == (name, index)
    assert phrase(target, LABELS) == Phrase(index, negated="not" in target, finer=True)


def test_rivals_once_found_stay_for_images_that_come_later() -> None:
    """So that noise, a path or a mask asks the same question throughout."""
    asking = question("finer:boxer", LABELS, 2).fixed(LOGITS)
    later = LOGITS.flip(1)  # rivals 4, 3, 1 of the first image and 1, 3, 0 of the second
    expected = [[5 - (0 + 1 + 2) / 3], [-1 - (3.5 + 3 + 9) / 3]]
    assert_close(asking.scores(later), torch.tensor(expected))
    assert not torch.equal(asking.scores(later), question("finer:boxer", LABELS, 2).scores(later))
    assert_close(asking.of_rows([1, 0]).scores(later.flip(0)), torch.tensor(expected).flip(0))


def test_confidence_is_the_logistic_function_of_the_score() -> None:
    asking = question([["boxer", "finer:boxer"]] * 2, LABELS, 2)
    assert_close(
        asking.confidences(LOGITS), torch.stack([LOGITS.softmax(1)[:, 2], torch.tensor([2.5, -4.5]).sigmoid()], 1)
    )


def test_two_classes_are_each_others_only_rival() -> None:
    assert_close(finer(0)(LOGITS[:, :2]), torch.tensor([[-1.0], [1.0]]))
    assert_close(question("finer:0", LABELS, 2).scores(LOGITS[:, :2]), torch.tensor([[-1.0], [1.0]]))


@pytest.mark.parametrize(
    ("asking", "message"),
    [
        (lambda: phrase("finer:boxer-vs:tabby", LABELS), "one class and no more"),
        (lambda: phrase("finer:not:boxer", LABELS), "one class and no more"),
        (lambda: phrase("finer:finer:boxer", LABELS), "one class and no more"),
        (lambda: phrase("finer:top:3", LABELS), "stands alone"),
        (lambda: phrase("finer:zzz", LABELS), "no class 'zzz'"),
        (lambda: finer(0, rivals=0), "got rivals=0"),
        (lambda: finer(0)(LOGITS[:, :1]), "no rivals in a model with one class"),
        (lambda: finer(7)(LOGITS), "no class 7"),
        (lambda: finer(0)(torch.zeros(1, 3, 8, 8)), "a callable target"),
    ],
)
def test_what_has_no_answer_is_refused(asking: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        asking()  # type: ignore[operator]


def test_grad_cam_of_it_is_the_classs_less_its_rivals_before_the_relu() -> None:
    """HiResCAM is linear in the gradient, so maps subtract."""
    model, images = seeded(Pooled), image(2)
    values = model(images)
    both = sightline.maps(model, images, finer(1), layer="features", method="hires-cam")
    each = sightline.maps(model, images, [[0, 1, 2, 3]] * 2, layer="features", method="hires-cam")
    assert values.shape[1] == 4  # so that the three others are the rivals
    assert_close(both, each[:, 1] - each[:, [0, 2, 3]].mean(1))
    assert_close(sightline.maps(model, images, "finer:1", layer="features", method="hires-cam"), both)


def test_is_torchcams_target() -> None:
    methods = pytest.importorskip("torchcam.methods", reason="torchcam isn't installed")
    theirs = object.__new__(methods.FinerCAM)
    theirs.gamma, theirs.num_references = 0.6, 3
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(16, 10, generator=generator)
    assert_close(finer(4, strength=0.6)(values), theirs._contrastive_scores(4, values, None))


def test_pytorch_grad_cam_weights_rivals_and_differentiates_the_weights() -> None:
    """Its weights are the rivals' probabilities; ours are equal, as in the authors' first version and torch-cam."""
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets", reason="pytorch-grad-cam isn't installed")
    row = LOGITS[0]
    theirs = targets.FinerWeightedTarget(2, [4, 3, 1], 1.0)(row)
    weights = row.softmax(0)[[4, 3, 1]]
    assert_close(theirs, row[2] - (weights * row[[4, 3, 1]]).sum() / weights.sum())
    assert abs(float(theirs - finer(2)(LOGITS)[0, 0])) > 1
    even = torch.tensor([3.0, 1.0, 1.0, 1.0, -9.0])  # rivals that score the same weigh the same
    assert_close(targets.FinerWeightedTarget(0, [1, 2, 3], 1.0)(even), finer(0)(even[None])[0, 0])
