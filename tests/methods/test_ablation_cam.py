"""Ablation-CAM against the paper's weights written as loops, against cases solved by hand, and its peer."""

import pytest
import torch
from nets import Pooled, captured, relative_error, seeded
from test_score_cam import coarse, combined, features, pictures, pytorch_grad_cam, scaled
from torch import Tensor, nn
from torch.testing import assert_close

import sightline


@torch.no_grad()
def without(model: nn.Module, layer: str, picture: Tensor, channel: int) -> Tensor:
    """The output (classes,) for a picture, a channel of the layer at 0; the whole model runs."""

    def off(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, channel] = 0
        return output

    handle = model.get_submodule(layer).register_forward_hook(off)
    try:
        return model(picture[None])[0]
    finally:
        handle.remove()


@torch.no_grad()
def as_in_the_paper(
    model: nn.Module, layer: str, images: Tensor, targets: list[list[int]], *, signed: bool = False
) -> Tensor:
    """w_k = (y - y_k) / |y|, or / y as it is printed."""
    activations, rows = features(model, layer, images), []
    for picture, planes, asked in zip(images, activations, targets):
        for target in asked:
            y = model(picture[None])[0, target].item()
            drops = [y - without(model, layer, picture, k)[target].item() for k in range(len(planes))]
            rows.append(combined(planes, [drop / (y if signed else abs(y)) for drop in drops]))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper_but_for_the_sign_of_the_score(layer: str) -> None:
    model, images, targets = seeded(coarse), pictures(), [[0, 1, 2, 3]] * 2
    scores = model(images)
    assert (scores < 0).any()
    assert (scores > 0).any()
    found = sightline.maps(model, images, targets, layer=layer, method="ablation-cam")
    assert_close(found, as_in_the_paper(model, layer, images, targets), rtol=1e-9, atol=1e-12)
    printed = as_in_the_paper(model, layer, images, targets, signed=True)
    assert_close(found[scores > 0], printed[scores > 0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found[scores < 0], printed[scores < 0])


class Weighed(nn.Module):
    """A net whose features are the image's channels, scored by a weighted sum of their sums, plus a bias."""

    def __init__(self, weights: list[float], bias: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.weights, self.bias = weights, bias

    def forward(self, images: Tensor) -> Tensor:
        sums = self.features(images).sum((2, 3))
        return (sums @ torch.tensor(self.weights, dtype=images.dtype) + self.bias)[:, None]


PICTURE = torch.tensor([[[1, 0], [0, 3]], [[0, 2], [0, 0]], [[5, 0], [0, 0]]]).double()[None]


def test_by_hand() -> None:
    """Without them the score of 4 * 2 + 2 * 1 + 0 = 10 loses 8, 2 and 0: weights 0.8, 0.2 and 0."""
    found = sightline.maps(Weighed([2, 1, 0]), PICTURE, 0, layer="features", method="ablation-cam")
    assert_close(found, torch.tensor([[[0.8, 0.4], [0, 2.4]]]).double())


def test_a_negative_score_does_not_turn_the_map_round() -> None:
    """The score is 10 - 20: divided by it the first two channels would count against what they speak for."""
    found = sightline.maps(Weighed([2, 1, 0], -20), PICTURE, 0, layer="features", method="ablation-cam")
    assert_close(found, torch.tensor([[[0.8, 0.4], [0, 2.4]]]).double())


def test_at_a_score_of_0_the_weights_are_the_drops_themselves() -> None:
    found = sightline.maps(Weighed([2, 1, 0], -10), PICTURE, 0, layer="features", method="ablation-cam")
    assert_close(found, torch.tensor([[[8.0, 4], [0, 24]]]).double())


@pytest.mark.parametrize("scale", [1e-4, 1e-12, 1e-30])
def test_small_scores_keep_their_map(scale: float) -> None:
    model = Weighed([2 * scale, scale, 0])
    found = sightline.maps(model, PICTURE.float(), 0, layer="features", method="ablation-cam")
    assert_close(found, torch.tensor([[[0.8, 0.4], [0, 2.4]]]))


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    found = sightline.maps(model, pictures(), 1, layer="relu", method="ablation-cam")
    assert torch.equal(found, torch.zeros(2, 5, 6).double())


def test_a_batch_is_its_images() -> None:
    model, images = seeded(lambda: coarse(37)), pictures(3)
    found = sightline.maps(model, images, [0, 1, 2], layer="relu", method="ablation-cam")
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, layer="relu", method="ablation-cam")
        assert_close(found[i : i + 1], alone, rtol=1e-9, atol=1e-12)


def test_on_a_linear_head_it_is_the_sum_of_gradient_times_activation_by_channel() -> None:
    """What a channel's absence costs there is sum_xy g A, so that w_k = sum_xy g A / |y|."""
    model, images = seeded(Pooled).double(), pictures()
    planes, gradients = captured(model, model.features, images, lambda out: out[:, 2])
    weights = (planes * gradients).sum((2, 3)) / model(images)[:, 2:3].abs()
    true = torch.einsum("nc,nchw->nhw", weights, planes).relu()
    found = sightline.maps(model, images, 2, layer="features", method="ablation-cam")
    assert_close(found, true.detach(), rtol=1e-9, atol=1e-12)


def test_equals_pytorch_grad_cam_where_the_score_is_positive_and_a_feature_is_0() -> None:
    """Where the score is negative, it lights up what speaks against it."""
    model, images, targets = seeded(Pooled).double(), pictures(), [2, 1]
    with torch.no_grad():
        model.head.bias += torch.tensor([0, -1, 1, 0])
        assert model(images)[[0, 1], targets].sign().tolist() == [1, -1]
    found = sightline.maps(model, images, targets, layer="features", method="ablation-cam")
    theirs = pytorch_grad_cam("AblationCAM", model.float(), "features", images.float(), targets)
    true = scaled(found, images)
    assert_close(theirs[0], true[0], rtol=0, atol=1e-4)
    assert float((theirs[1] - true[1]).abs().max()) > 0.5


def test_pytorch_grad_cam_is_wrong_on_signed_features() -> None:
    """It sets a channel to 1e7 below the least feature instead of to 0, which only a ReLU after it undoes."""
    model, images = seeded(coarse), pictures()
    targets = [int(best) for best in model(images).argmax(1)]
    true = as_in_the_paper(model, "mix", images, [[target] for target in targets])[:, 0]
    found = sightline.maps(model, images, targets, layer="mix", method="ablation-cam")
    assert relative_error(found, true) < 1e-9
    theirs = pytorch_grad_cam("AblationCAM", model.float(), "mix", images.float(), targets)
    assert float((theirs - scaled(true, images)).abs().max()) > 0.2
