"""Targets of outputs that aren't class logits, against loops and cases by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sightline.errors import TargetError
from sightline.targets import all_of, class_, contrast, counterfactual, like, pixel, region, several, value, written
from sightline.targets.regions import at_size


def test_a_regions_score_is_the_mean_logit_over_its_cells() -> None:
    values, mask = torch.randn(2, 3, 4, 5), torch.rand(4, 5) > 0.5
    found = region(mask, 2)({"out": values})
    cells = [(i, j) for i in range(4) for j in range(5) if mask[i, j]]
    expected = [sum(float(values[n, 2, i, j]) for i, j in cells) / len(cells) for n in range(2)]
    assert_close(found, torch.tensor(expected))


def test_each_image_may_have_its_own_region() -> None:
    values = torch.randn(2, 3, 4, 4)
    masks = torch.stack([pixel(0, 1, (4, 4)), pixel(3, 2, (4, 4))])
    assert_close(region(masks, 0)(values), torch.stack([values[0, 0, 1, 0], values[1, 0, 2, 3]]))


@pytest.mark.parametrize("size", [(2, 3), (4, 6), (8, 12), (3, 4), (5, 7)])
def test_a_mask_of_another_size_spans_the_same_image(size: tuple[int, int]) -> None:
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[:2, :3] = True  # the upper left quarter
    weights = at_size(mask, size)
    assert weights.shape == size
    assert float(weights.mean()) == pytest.approx(0.25)
    assert weights[0, 0] == 1
    assert weights[-1, -1] == 0


def test_the_share_that_a_mask_covers_of_a_cell_is_its_weight() -> None:
    mask = torch.zeros(4, 4)
    mask[0, 0] = 1
    assert_close(at_size(mask, (2, 2)), torch.tensor([[0.25, 0.0], [0.0, 0.0]]))
    values = torch.arange(4.0).view(1, 1, 2, 2) + 1
    assert_close(region(mask, 0)(values), torch.tensor([1.0]))


@pytest.mark.parametrize(
    ("mask", "index", "message"),
    [
        (torch.zeros(4, 4), 0, r"a region needs a mask \(height, width\) with a pixel in it, got \(4, 4\)"),
        (torch.ones(4), 0, r"a region needs a mask \(height, width\) with a pixel in it, got \(4,\)"),
        (torch.ones(4, 4), 3, "no class 3: the model has 3 classes, 0 to 2"),
    ],
)
def test_what_is_no_region_is_said(mask: Tensor, index: int, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        region(mask, index)(torch.randn(1, 3, 4, 4))


def test_a_region_of_a_classifier_is_refused() -> None:
    with pytest.raises(TargetError, match=r"shape \(1, 3\), not one per class and pixel"):
        region(torch.ones(4, 4), 0)(torch.randn(1, 3))


def test_a_pixel_outside_the_image_is_refused() -> None:
    with pytest.raises(TargetError, match=r"no pixel \(6, 1\) in an image of 6 x 4 pixels"):
        pixel(6, 1, (4, 6))


def test_what_is_written_is_the_sum_of_each_tokens_log_probability() -> None:
    values, tokens = torch.randn(2, 5, 7), [3, 0, 6, 2]
    found = written(tokens)({"logits": values})
    for n in range(2):
        expected = 0.0
        for t, token in enumerate(tokens):
            total = sum(float(values[n, t, v].exp()) for v in range(7))
            expected += float(values[n, t, token]) - float(torch.tensor(total).log())
        assert float(found[n]) == pytest.approx(expected, rel=1e-5)
    part = written(tokens, slice(1, 3))(values)
    assert_close(part, values.log_softmax(2)[:, 1, 0] + values.log_softmax(2)[:, 2, 6])


def test_the_words_of_a_sentence_add_up_to_it() -> None:
    values, tokens = torch.randn(1, 3, 4), [1, 2, 3]
    each = several(*(written(tokens, slice(t, t + 1)) for t in range(3)))(values)
    assert_close(each.sum(1), written(tokens)(values))


def test_a_sentence_that_is_too_long_or_unknown_is_refused() -> None:
    with pytest.raises(TargetError, match=r"gives \(1, 2, 4\); expected logits \(N, T, vocabulary\) of 3 tokens"):
        written([1, 2, 3])(torch.randn(1, 2, 4))
    with pytest.raises(TargetError, match="no token 4: the model knows 4"):
        written([1, 4])(torch.randn(1, 2, 4))


def test_likeness_is_the_cosine() -> None:
    own, other = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([1.0, 0.0])
    assert_close(like(other)(own), torch.tensor([0.6, 0.0]))
    assert_close(like(other)(SimpleNamespace(image_embeds=own)), torch.tensor([0.6, 0.0]))
    assert_close(like(torch.stack([other, own[1]]))(own), torch.tensor([0.6, 1.0]))


def test_embeddings_of_other_sizes_are_refused() -> None:
    with pytest.raises(TargetError, match="embeddings have 2 numbers, the reference has 3"):
        like(torch.ones(3))(torch.randn(1, 2))
    with pytest.raises(TargetError, match=r"the model gives \(1, 2, 3\), not one embedding per image"):
        like(torch.ones(3))(torch.randn(1, 2, 3))


def test_a_number_may_be_alone_or_one_of_several() -> None:
    assert_close(value()(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
    assert_close(value(1)(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), torch.tensor([2.0, 4.0]))


def test_labels_together_and_what_is_made_of_them() -> None:
    values = torch.randn(2, 5)
    assert_close(all_of([1, 4])(values), values[:, 1] + values[:, 4])
    both = several(counterfactual(class_(0)), contrast(class_(1), all_of([2, 3])), class_([3, 4]))
    columns = [-values[:, 0], values[:, 1] - values[:, 2] - values[:, 3], values[0, 3], values[1, 4]]
    found = both(values)
    assert_close(found[:, 0], columns[0])
    assert_close(found[:, 1], columns[1])
    assert_close(found[:, 2], torch.stack(columns[2:]))
