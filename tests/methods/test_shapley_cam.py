"""Shapley-CAM against the paper's weights with the whole Hessian, against cases solved by hand, and its peer."""

import pytest
import torch
from nets import Deep, Pooled, captured, grad_cam_of, image, relative_error, seeded
from test_score_cam import coarse, features, pictures, pytorch_grad_cam, scaled
from torch import Tensor, nn
from torch.testing import assert_close

import sightline


def as_in_the_paper(model: nn.Module, layer: str, images: Tensor, targets: list[list[int]]) -> Tensor:
    """w_c = mean_xy (g - H A / 2), the Hessian H of one picture's score at the layer written out whole."""
    activations, rows = features(model, layer, images), []
    for picture, planes, asked in zip(images, activations, targets):
        for target in asked:

            def score(values: Tensor, picture: Tensor = picture, target: int = target) -> Tensor:
                handle = model.get_submodule(layer).register_forward_hook(lambda *_: values[None])
                try:
                    return model(picture[None])[0, target]
                finally:
                    handle.remove()

            (slope,) = torch.autograd.grad(score(given := planes.clone().requires_grad_()), given)
            hessian = torch.autograd.functional.hessian(score, planes)
            size = planes.numel()
            curved = (hessian.reshape(size, size) @ planes.reshape(size)).view_as(planes)
            total = torch.zeros_like(planes[0])
            for c, plane in enumerate(planes):
                total += (slope[c] - curved[c] / 2).mean() * plane
            rows.append(total.clamp(min=0))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper(layer: str) -> None:
    model, images, targets = seeded(lambda: coarse(3)), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method="shapley-cam")
    true = as_in_the_paper(model, layer, images, targets)
    assert_close(found, true, rtol=1e-9, atol=1e-12)
    assert relative_error(sightline.maps(model, images, targets, layer=layer), true) > 0.01  # so H isn't 0


class Powers(nn.Module):
    """A net whose features are the image's channels, scored by the sum of their squares or cubes."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.features, self.power = nn.Identity(), power

    def forward(self, images: Tensor) -> Tensor:
        return (self.features(images) ** self.power).sum((1, 2, 3))[:, None]


PICTURE = torch.tensor([[[1, 3]], [[2, 0]], [[0, -4]]]).double()[None]


def test_by_hand() -> None:
    """Of a sum of squares g = 2 A and H A = 2 A, so the weights are the means of A: 2, 1 and -2."""
    found = sightline.maps(Powers(2), PICTURE, 0, layer="features", method="shapley-cam")
    assert_close(found, torch.tensor([[[4, 14]]]).double())


def test_of_a_sum_of_cubes_gradient_and_curvature_cancel() -> None:
    """g = 3 A^2 and H A = 6 A A, half of which is g."""
    found = sightline.maps(Powers(3), PICTURE, 0, layer="features", method="shapley-cam")
    assert torch.equal(found, torch.zeros(1, 1, 2).double())


def test_is_grad_cam_where_nothing_curves() -> None:
    model, images = seeded(Pooled).double(), pictures()
    planes, gradients = captured(model, model.features, images, lambda out: out[:, 2])
    found = sightline.maps(model, images, 2, layer="features", method="shapley-cam")
    assert_close(found, grad_cam_of(planes, gradients))


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    found = sightline.maps(model, pictures(), 1, layer="relu", method="shapley-cam")
    assert torch.equal(found, torch.zeros(2, 5, 6).double())


def test_equals_pytorch_grad_cam() -> None:
    model, images, targets = seeded(Deep), image(2), [1, 3]
    found = sightline.maps(model.double(), images.double(), targets, layer="features", method="shapley-cam")
    theirs = pytorch_grad_cam("ShapleyCAM", model.float(), "features", images, targets)
    assert_close(theirs, scaled(found, images), rtol=0, atol=1e-5)
