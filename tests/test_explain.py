"""explain() end to end: pictures in, explanations in the picture's own pixels out, saved and read again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

import sightline
from sightline.errors import LayerError, MethodError, ModelError, PictureError, TargetError
from sightline.targets import value

NAMES = ("red", "green", "blue")


class ColourNet(nn.Module):
    """Scores the mean of each colour channel through a one-to-one feature map: every map is known."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(4)  # 4 x 4 pixels a cell
        self.mix = nn.Conv2d(3, 4, 1, bias=False)
        self.head = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(4)[:, :3, None, None])
            self.head.weight.copy_(torch.eye(4)[:3])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.features(image)).mean((2, 3)))


PLAIN = sightline.Preprocess(size=(16, 16), resize=16, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def model() -> sightline.Model:
    return sightline.wrap(ColourNet(), preprocess=PLAIN, labels=NAMES)


@pytest.fixture
def picture() -> Image.Image:
    """32 x 16: red in the cell at x 20-24, y 4-8; green at x 8-12, y 12-16; blue outside the centre crop."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[4:8, 20:24, 0] = 255
    pixels[12:16, 8:12, 1] = 200
    pixels[0:16, 0:4, 2] = 255
    return Image.fromarray(pixels)


def test_maps_land_on_the_pixels_they_come_from(model: sightline.Model, picture: Image.Image) -> None:
    why = sightline.explain(model, picture, ["red", "green"])
    assert why.layer == "mix"
    assert why.layer_why == "the last feature map with space, 4 x 4"
    assert why.framing.seen == (8, 0, 24, 16)
    red = torch.zeros(4, 4)
    red[1, 3] = 1 / 16  # weight 1/16 at the one lit cell
    assert_close(why["red"].maps[0], red)
    x, y = why["red"].peak()
    assert 20 <= x < 24
    assert 4 <= y < 8
    x, y = why["green"].peak()
    assert 8 <= x < 12
    assert 12 <= y < 16
    x0, y0, x1, y1 = why["red"].box(0.5)
    assert x0 <= 20 <= 22 <= x1 <= 24
    assert y0 <= 4 <= 8 <= y1
    assert np.isnan(why["red"].heat[:, :8]).all()
    assert why["red"].mask(0.5)[5, 22]


def test_the_facts_are_the_models(model: sightline.Model, picture: Image.Image) -> None:
    why = sightline.explain(model, picture, ["red", "not:green", "red-vs:green"])
    red, green = 1 / 16, 200 / 255 / 16
    assert why.scores == pytest.approx((red, -green, red - green), rel=1e-5)
    shares = torch.tensor([red, green, 0]).softmax(0)
    assert why.probabilities == pytest.approx((float(shares[0]), float(shares[1]), float(shares[0])), rel=1e-5)
    assert [p.name for p in why.predictions] == ["red", "green", "blue"]
    assert why["against green"].maps.max() == 0


def test_no_target_is_the_predicted_class(model: sightline.Model, picture: Image.Image) -> None:
    why = sightline.explain(model, picture)
    assert (why.name, len(why)) == ("red", 1)


def test_pictures_in_a_list_are_explained_one_by_one_with_a_target_each(
    model: sightline.Model, picture: Image.Image
) -> None:
    pictures = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), picture.resize((50, 40))]
    whys = sightline.explain(model, pictures, ["red", "green", 2])
    assert [why.name for why in whys] == ["red", "green", "blue"]
    for one, why, target in zip(pictures, whys, ["red", "green", "blue"], strict=True):
        assert_close(why.maps, sightline.explain(model, one, target).maps)
    rows = sightline.explained(model, pictures * 3, batch_size=2)
    assert [row[0].name for row in rows] == ["red"] * 9
    with pytest.raises(TargetError, match="2 targets were given for 3 images"):
        sightline.explain(model, pictures, ["red", "green"])


def test_compare_gives_layers_then_methods(model: sightline.Model, picture: Image.Image) -> None:
    whys = sightline.compare(model, picture, "red", layers=["features", "mix"], methods=["grad-cam", "hires-cam"])
    assert [(why.layer, why.method) for why in whys] == [
        ("features", "grad-cam"),
        ("features", "hires-cam"),
        ("mix", "grad-cam"),
        ("mix", "hires-cam"),
    ]
    for why in whys:
        alone = sightline.explain(model, picture, "red", layer=why.layer, method=why.method)
        assert_close(why.maps, alone.maps)


def test_bare_tensors_in_bare_tensors_out() -> None:
    image = torch.rand(2, 3, 16, 24)
    net = ColourNet()
    one = sightline.grad_cam(net, image, target=1)
    assert_close(one, nn.functional.avg_pool2d(image, 4)[:, 1] / 24)
    several = sightline.grad_cam(net, image, [[0, 1], [2, 0]])
    assert_close(several[0, 1], one[0])
    both = sightline.maps(net, image, 1, layer=["features", net.mix])
    assert len(both) == 2
    assert_close(both[1], one)


def test_saved_and_read_again_it_is_the_same(model: sightline.Model, picture: Image.Image, tmp_path: Path) -> None:
    why = sightline.explain(model, picture, ["red", "green"], method="hires-cam")
    files = why.save(tmp_path / "deep" / "folder")
    assert all(file.is_file() for file in files)
    again = sightline.Explanation.load(tmp_path / "deep" / "folder")
    assert torch.equal(again.maps, why.maps)
    assert np.array_equal(np.asarray(again.picture), np.asarray(picture))
    for name in (
        "framing",
        "asked",
        "scores",
        "probabilities",
        "predictions",
        "model",
        "weights_hash",
        "layer",
        "method",
        "signed",
        "layer_why",
        "versions",
        "path",
        "source",
    ):
        assert getattr(again, name) == getattr(why, name), name
    assert np.array_equal(np.asarray(again["red"].overlay()), np.asarray(why["red"].overlay()))
    with pytest.raises(PictureError, match="no saved explanation"):
        sightline.Explanation.load(tmp_path)


def test_facts_are_json_and_say_the_whole_question(model: sightline.Model, picture: Image.Image) -> None:
    facts = json.loads(json.dumps(sightline.explain(model, picture, "red").facts()))
    assert facts["target"] == {"name": "red", "index": 0}
    assert (facts["model"], facts["layer"], facts["method"]) == ("ColourNet", "mix", "grad-cam")
    assert set(facts["versions"]) >= {"sightline", "torch"}
    assert len(facts["weights_hash"]) == 16


def test_the_weights_hash_is_of_the_weights(model: sightline.Model) -> None:
    other = ColourNet()
    assert sightline.wrap(other).weights_hash == model.weights_hash
    with torch.no_grad():
        other.head.weight[0, 0] += 1e-6
    assert sightline.wrap(other).weights_hash != model.weights_hash


def test_the_overlay_has_the_pictures_size_and_greys_what_was_not_seen(
    model: sightline.Model, picture: Image.Image
) -> None:
    why = sightline.explain(model, picture, "red")
    shown = np.asarray(why.overlay()).astype(int)
    assert shown.shape == (16, 32, 3)
    assert (shown[:, :8].max(-1) == shown[:, :8].min(-1)).all()  # the blue stripe outside the crop is grey
    assert why._repr_png_().startswith(b"\x89PNG")
    assert why.figure().width >= 300


def test_a_name_picks_one_of_several(model: sightline.Model, picture: Image.Image) -> None:
    why = sightline.explain(model, picture, ["red", "green"])
    assert [one.name for one in why] == ["red", "green"]
    assert why[-1].name == "green"
    with pytest.raises(TargetError, match="of the targets asked: 'red', 'green'"):
        why["blue"]
    with pytest.raises(TargetError, match=r"pick one, such as why\['red'\]"):
        why.overlay()
    with pytest.raises(TargetError, match="no target 2"):
        why[2]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"target": "rad"}, TargetError, "nearest: 'red'"),
        ({"layer": "mux"}, LayerError, "nearest: 'mix'"),
        ({"layer": ["mix"]}, LayerError, "sightline.compare"),
        ({"layer": "head"}, LayerError, "no grid of positions"),
        ({"method": "grad-cim"}, MethodError, "nearest: 'grad-cam'"),
        ({"picture": "no/such.jpg"}, PictureError, "no/such.jpg"),
        ({"model": ColourNet()}, ModelError, "sightline.wrap"),
    ],
)
def test_a_wrong_question_is_one_clear_line(
    model: sightline.Model, picture: Image.Image, given: dict[str, object], error: type, message: str
) -> None:
    asked = {"model": model, "picture": picture} | given
    with pytest.raises(error, match=message) as caught:
        sightline.explain(asked.pop("model"), asked.pop("picture"), **asked)
    assert "\n" not in str(caught.value)


def test_a_multi_label_models_probabilities_are_independent(picture: Image.Image) -> None:
    model = sightline.wrap(ColourNet(), preprocess=PLAIN, labels=NAMES, multi_label=True)
    why = sightline.explain(model, picture, ["red", "blue"])
    assert why.probabilities == pytest.approx((float(torch.tensor(1 / 16).sigmoid()), 0.5))


def test_a_layer_that_the_source_names_is_taken(picture: Image.Image) -> None:
    why = sightline.explain(sightline.wrap(ColourNet(), preprocess=PLAIN, layer="features"), picture, 0)
    assert (why.layer, why.layer_why) == ("features", "the layer that module names")


def test_a_target_is_found_by_what_was_asked(model: sightline.Model, picture: Image.Image) -> None:
    why = sightline.explain(model, picture, ["red", "not:red", "green-vs:red"])
    assert [why[text].name for text in ("red", "not:red", "green-vs:red", "green")] == [
        *("red", "against red", "green and not red", "green and not red")
    ]
    versus = sightline.explain(model, picture, ["blue", "green-vs:red"])
    for absent in ("purple", "red"):
        with pytest.raises(TargetError, match="fits 0 of the targets"):
            versus[absent]


def test_numpys_integers_are_class_indices(model: sightline.Model, picture: Image.Image) -> None:
    assert sightline.explain(model, picture, np.int64(1)).name == "green"
    assert [one.name for one in sightline.explain(model, picture, [np.int64(1), 2])] == ["green", "blue"]
    with pytest.raises(TargetError, match=r"1.5 is no target"):
        sightline.explain(model, picture, 1.5)


def test_labels_must_be_as_many_as_classes(picture: Image.Image) -> None:
    with pytest.raises(ModelError, match="3 classes and 2 labels"):
        sightline.explain(sightline.wrap(ColourNet(), preprocess=PLAIN, labels=["a", "b"]), picture)
    mapped = sightline.wrap(ColourNet(), preprocess=PLAIN, labels={1: "green", 0: "red", 2: "blue"})
    assert mapped.labels.names == NAMES
    with pytest.raises(ModelError, match=r"torch.nn.Module is expected, got int"):
        sightline.wrap(3)


def test_another_module_in_a_model_forgets_the_layers_chosen(model: sightline.Model, picture: Image.Image) -> None:
    assert sightline.explain(model, picture).layer == "mix"
    head = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    assert sightline.explain(replace(model, module=head), picture).layer == "0"


@pytest.mark.parametrize("method", ["score-cam", "occlusion:window=4:stride=4"])
def test_methods_that_show_edited_images_keep_to_the_models_precision(model: sightline.Model, method: str) -> None:
    image = torch.rand(1, 3, 16, 16)
    half = sightline.maps(model.module.bfloat16(), image.bfloat16(), 0, layer="mix", method=method)
    assert half.isfinite().all()


def test_a_net_that_gives_one_number_an_image_needs_no_layer_named() -> None:
    net = ColourNet()
    found = sightline.maps(sightline.wrap(net, call=lambda m, x: m(x)[:, 0]).module, torch.rand(2, 3, 16, 16), value())
    assert found.shape == (2, 4, 4)
