"""Targets: scores by hand, names, wnids, phrases, lengths; and every way to get them wrong."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sightline.errors import ModelError, TargetError
from sightline.targets import Labels, class_, contrast, counterfactual, logits, phrase, probabilities, question, top

LOGITS = torch.tensor([[0.0, 1.0, 5.0, 2.0], [4.0, 3.0, -1.0, 3.0]])
LABELS = Labels(
    ("tabby, tabby cat", "tiger cat", "boxer", "great white shark"),
    ("n02123045", "n02123159", "n02108089", "n01484850"),
)


def scores(target: object, n: int = 2) -> list[list[float]]:
    return question(target, LABELS, n).scores(LOGITS[:n]).tolist()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (2, [[5], [-1]]),
        (-1, [[2], [3]]),
        ("boxer", [[5], [-1]]),
        ("n02123159", [[1], [3]]),
        ("2", [[5], [-1]]),
        ([2, 0], [[5], [4]]),
        (["boxer", "tabby"], [[5], [4]]),
        ([[2, 0], [0, 1]], [[5, 0], [4, 3]]),
        (torch.tensor(1), [[1], [3]]),
        (torch.tensor([2, 0]), [[5], [4]]),
        (torch.tensor([[2, 0], [0, 1]]), [[5, 0], [4, 3]]),
        (None, [[5], [4]]),
        ("top:2", [[5, 2], [4, 3]]),
        ("not:boxer", [[-5], [1]]),
        ("boxer-vs:tabby", [[5], [-5]]),
        ("not:boxer-vs:tabby", [[-5], [5]]),
        ([["boxer", "not:boxer"], ["tabby", "boxer-vs:tabby"]], [[5, -5], [4, -5]]),
        (lambda out: out.sum(1), [[8], [9]]),
        (lambda out: out[:, :2], [[0, 1], [4, 3]]),
        (counterfactual(class_(2)), [[-5], [1]]),
        (contrast(class_(2), class_([0, 1])), [[5], [-4]]),
        (top(1), [[5], [4]]),
    ],
)
def test_scores(target: object, expected: list[list[float]]) -> None:
    assert scores(target) == expected


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (2, ["boxer"]),
        ("top:2", ["boxer", "great white shark"]),
        ("not:tabby cat", ["against tabby"]),
        ("boxer-vs:tiger cat", ["boxer and not tiger cat"]),
        (counterfactual(class_(2)), ["against class 2"]),
        (lambda out: out[:, :2], ["target 0", "target 1"]),
        (-1, ["great white shark"]),
    ],
)
def test_what_was_asked_in_words(target: object, names: list[str]) -> None:
    asking = question(target, LABELS, 1)
    asked = asking.asked(LOGITS[:1], asking.scores(LOGITS[:1]))
    assert [one.name for one in asked[0]] == names


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("tabby", 0),
        ("TABBY CAT", 0),
        ("tabby cat", 0),
        ("Tiger Cat", 1),
        ("tiger_cat", 1),
        ("great white", 3),
        ("white shark", 3),
        ("boxer dog", 2),
    ],
)
def test_a_name_needs_only_to_be_clear(name: str, index: int) -> None:
    assert LABELS.index(name) == index


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat", r"fits 2 classes: 'tabby' \(0\), 'tiger cat' \(1\)"),
        ("boxxer", r"no class 'boxxer' among 4; nearest: 'boxer' \(2\)"),
        ("zzz", "nearest: none"),
        ("not:zzz", "no class 'zzz'"),
        ("top:3", "stands alone"),
    ],
)
def test_an_unclear_name_is_an_error_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        phrase(name, LABELS)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1, 2, 3], "3 targets were given for 2 images"),
        ([1], "1 targets were given for 2 images"),
        ([[1, 2], [1]], "as many targets as the others"),
        ([[], []], "as many targets"),
        (True, "no target"),
        ([1.5, 2], "1.5 is no target"),
    ],
)
def test_a_wrong_length_or_kind_is_refused_before_the_model_runs(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        question(target, LABELS, 2)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, "no class 4: the model has 4 classes"),
        (-5, "no class -5"),
        (lambda out: out.sum(), "expected one score per image"),
        (lambda out: out[:1, 0], "for 2 images"),
        (lambda _: 3.0, "float"),
        ("top:9", "top 9"),
        (torch.tensor([[7, 0], [0, 0]]), "no class 7"),
    ],
)
def test_a_target_that_does_not_fit_the_output_is_refused(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        scores(target)


def test_logits_are_found_in_what_models_give() -> None:
    class ModelOutput:
        logits = LOGITS

    for output in (LOGITS, (LOGITS, None), [LOGITS], {"logits": LOGITS}, {"out": LOGITS}, ModelOutput()):
        assert logits(output) is LOGITS
    for output in (None, torch.zeros(3), {}, "text"):
        with pytest.raises(ModelError, match="not logits"):
            logits(output)


def test_a_segmenters_logits_ask_for_a_callable() -> None:
    with pytest.raises(TargetError, match="a callable target"):
        question(1, LABELS, 1).scores(torch.zeros(1, 3, 8, 8))


def test_probabilities_of_one_label_and_of_many() -> None:
    values = torch.tensor([[0.0, torch.log(torch.tensor(3.0))]])
    assert_close(probabilities(values), torch.tensor([[0.25, 0.75]]))
    assert_close(probabilities(values, multi_label=True), torch.tensor([[0.5, 0.75]]))


def test_equal_logits_rank_by_index() -> None:
    assert question("top:3", LABELS, 1).asked(torch.zeros(1, 4), torch.zeros(1, 3))[0][2].index == 2


def test_labels_are_read_from_text_and_json(tmp_path: Path) -> None:
    text, plain, rich, bad = (tmp_path / name for name in ("a.txt", "b.json", "c.json", "d.json"))
    text.write_text("cat\ndog\n\n")
    plain.write_text(json.dumps(["cat", "dog"]))
    rich.write_text(json.dumps([{"index": 1, "name": "dog", "wnid": "n2"}, {"index": 0, "name": "cat", "wnid": "n1"}]))
    bad.write_text("{")
    assert Labels.read(text).names == Labels.read(plain).names == Labels.read(rich).names == ("cat", "dog")
    assert Labels.read(rich).wnids == ("n1", "n2")
    for wrong in (bad, tmp_path / "none.txt"):
        with pytest.raises(ModelError, match="can't be read"):
            Labels.read(wrong)


def test_the_gradient_of_a_counterfactual_is_the_negated_one() -> None:
    values = LOGITS.clone().requires_grad_()
    for target, expected in ((class_(2), 1.0), (counterfactual(class_(2)), -1.0)):
        (gradient,) = torch.autograd.grad(target(values).sum(), values)
        wanted: Tensor = torch.zeros_like(values)
        wanted[:, 2] = expected
        assert torch.equal(gradient, wanted)
