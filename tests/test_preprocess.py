"""Preprocessing equals torchvision's own, its framing tells the truth, and transforms are read or refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close
from torchvision import transforms
from torchvision.models import ResNet50_Weights, ViT_B_16_Weights
from torchvision.transforms import v2

from sightline.errors import ModelError, PictureError
from sightline.preprocess import Preprocess
from sightline.transforms import read_transform


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "weights", [ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2, ViT_B_16_Weights.DEFAULT]
)
@pytest.mark.parametrize("size", [(640, 480), (427, 640), (300, 301), (230, 500)])
def test_equals_torchvisions_own_preset(weights: object, size: tuple[int, int]) -> None:
    transform = weights.transforms()
    assert_close(read_transform(transform)(photo(*size)), transform(photo(*size)), atol=1e-6, rtol=0)


NORMALIZE = transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
BICUBIC = v2.Resize(50, interpolation=v2.InterpolationMode.BICUBIC)
COMPOSED = [
    transforms.Compose([transforms.Resize(64), transforms.CenterCrop(48), transforms.ToTensor(), NORMALIZE]),
    transforms.Compose([transforms.Resize((48, 56)), transforms.ToTensor()]),
    v2.Compose([BICUBIC, v2.CenterCrop((40, 30)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
]


@pytest.mark.parametrize("transform", COMPOSED)
def test_a_composed_transform_is_read(transform: object) -> None:
    assert_close(read_transform(transform)(photo(90, 70)), transform(photo(90, 70)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (transforms.Compose([transforms.RandomCrop(20), transforms.ToTensor()]), "RandomCrop"),
        (transforms.Compose([transforms.Resize(20), transforms.ToTensor()]), r"Resize\(20\)"),
        (transforms.Compose([transforms.Resize(20), transforms.CenterCrop(24)]), r"Resize\(20\)"),
        (lambda picture: picture, "function"),
    ],
)
def test_a_transform_whose_framing_cannot_be_told_is_refused(transform: object, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        read_transform(transform)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["crop", "squash", "pad"]))
def test_the_framing_tells_where_every_pixel_came_from(width: int, height: int, fit: str) -> None:
    """A picture whose red is its x and whose green is its y shows, in the image, where each pixel lies."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ramp = np.stack([x * 255 / width, y * 255 / height, 0 * x], -1)
    preprocess = Preprocess(size=(24, 32), resize=28, fit=fit, mean=(0, 0, 0), std=(1, 1, 1))
    if max(width, height) > 20 * min(width, height):
        return
    image = preprocess(Image.fromarray(ramp.round().astype(np.uint8)))
    framing = preprocess.framing((width, height))
    for u, v in ((5, 5), (16, 12), (28, 20)):
        px, py = framing.point_in_picture(u + 0.5, v + 0.5)
        if 0.15 * width < px < 0.85 * width and 0.15 * height < py < 0.85 * height:
            cell = max(1.0, width / 32, height / 24)
            assert abs(float(image[0, v, u]) * width - px) < 1.0 * cell + 0.01 * width
            assert abs(float(image[1, v, u]) * height - py) < 1.0 * cell + 0.01 * height


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    preprocess = Preprocess(size=(24, 32), resize=28, mean=(0, 0, 0), std=(1, 1, 1))
    picture = photo(32, 24)
    assert_close(preprocess(picture), torch.from_numpy(np.asarray(picture) / 255).permute(2, 0, 1).float())
    assert preprocess.framing((32, 24)).seen == (0, 0, 32, 24)


def test_padding_is_the_mean() -> None:
    image = Preprocess(size=(20, 20), fit="pad")(photo(40, 20))
    assert image[:, :5].abs().max() == 0
    assert image[:, 15:].abs().max() == 0
    assert image[:, 5:15].abs().min(0).values.mean() > 0.1


def test_grey_models_get_one_channel() -> None:
    assert Preprocess(size=(8, 8), mean=(0.5,), std=(0.5,))(photo(20, 20)).shape == (1, 8, 8)


def test_shown_undoes_the_normalisation() -> None:
    picture = photo(32, 24)
    preprocess = Preprocess(size=(24, 32))
    assert np.array_equal(np.asarray(preprocess.shown(preprocess(picture))), np.asarray(picture))


@pytest.mark.parametrize(
    "wrong", [{"fit": "stretch"}, {"interpolation": "magic"}, {"mean": (0.5, 0.5)}, {"std": (0, 1, 1)}, {"size": 28}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        Preprocess(**wrong)


def test_a_hair_of_a_picture_is_refused_before_it_becomes_huge() -> None:
    with pytest.raises(PictureError, match="2 x 60000"):
        Preprocess()(Image.new("RGB", (2, 60000)))
