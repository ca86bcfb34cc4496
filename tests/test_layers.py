"""Layers by name and module, grids by inference, and the layer chosen in every torchvision classifier."""

import pytest
import torch
from torch import nn
from torchvision import models

from sightline.ask import chosen_layer, maps
from sightline.errors import CutOff, LayerNotFound, NoSpace
from sightline.layers import Layout, Order, find, layout


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return models.resnet18()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("layer4", "layer4"),
        ("layer4.1.conv2", "layer4.1.conv2"),
        ("layer4[1].conv2", "layer4.1.conv2"),
        ("layer4[-1]", "layer4.1"),
        ("module.layer3", "layer3"),
        ("_orig_mod.layer3", "layer3"),
    ],
)
def test_a_name_finds_its_module(resnet: nn.Module, given: str, expected: str) -> None:
    layer = find(resnet, given)
    assert (layer.name, layer.module) == (expected, resnet.get_submodule(expected))


def test_a_module_finds_its_name(resnet: nn.Module) -> None:
    assert find(resnet, resnet.get_submodule("layer2.0.bn1")).name == "layer2.0.bn1"
    assert find(resnet, (resnet.get_submodule("relu"), 0)).call == 0


@pytest.mark.parametrize(("given", "nearest"), [("layer5", "'layer4'"), ("layer4.7", "'layer4.1'"), ("", "'fc'")])
def test_an_unknown_name_names_the_nearest(resnet: nn.Module, given: str, nearest: str) -> None:
    with pytest.raises(LayerNotFound, match=nearest):
        find(resnet, given)


def test_a_foreign_module_is_refused(resnet: nn.Module) -> None:
    with pytest.raises(LayerNotFound, match="Conv2d given is not part of this ResNet"):
        find(resnet, nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize(
    ("shape", "space", "expected"),
    [
        ((2, 512, 7, 7), (224, 224), Layout(Order.CHANNELS_FIRST, (7, 7))),
        ((2, 7, 7, 768), (224, 224), Layout(Order.CHANNELS_LAST, (7, 7))),
        ((2, 7, 10, 768), (224, 320), Layout(Order.CHANNELS_LAST, (7, 10))),
        ((2, 768, 7, 10), (224, 320), Layout(Order.CHANNELS_FIRST, (7, 10))),
        ((2, 8, 8, 8), (64, 64), Layout(Order.CHANNELS_FIRST, (8, 8))),
        ((2, 197, 768), (224, 224), Layout(Order.TOKENS, (14, 14), 1)),
        ((2, 198, 768), (224, 224), Layout(Order.TOKENS, (14, 14), 2)),
        ((2, 201, 768), (224, 224), Layout(Order.TOKENS, (14, 14), 5)),
        ((2, 196, 768), (224, 224), Layout(Order.TOKENS, (14, 14), 0)),
        ((2, 281, 768), (224, 320), Layout(Order.TOKENS, (14, 20), 1)),
        ((2, 1370, 768), (518, 518), Layout(Order.TOKENS, (37, 37), 1)),
        ((2, 49, 768), (224, 224), Layout(Order.TOKENS, (7, 7), 0)),
        ((2, 13, 19, 64), (224, 320), Layout(Order.CHANNELS_LAST, (13, 19))),
        ((2, 16, 50), (200,), Layout(Order.CHANNELS_FIRST, (50,))),
        ((2, 16, 4, 6, 8), (32, 48, 64), Layout(Order.CHANNELS_FIRST, (4, 6, 8))),
        ((2, 1000), (224, 224), None),
        ((2, 12, 197, 64), (224, 224), None),
    ],
)
def test_the_grid_is_inferred(shape: tuple[int, ...], space: tuple[int, ...], expected: Layout | None) -> None:
    assert layout(shape, space, strict=True) == expected


def test_tokens_become_the_grid_in_reading_order() -> None:
    tokens = torch.arange(7.0)[:, None].expand(7, 2)[None]  # a class token, then 2 x 3 patches
    grid = Layout(Order.TOKENS, (2, 3), 1).to_grid(tokens)
    assert grid[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert torch.equal(grid[0, 0], grid[0, 1])


def test_channels_last_become_first() -> None:
    values = torch.randn(2, 3, 4, 5)
    grid = Layout(Order.CHANNELS_LAST, (3, 4)).to_grid(values)
    assert all(torch.equal(grid[:, c], values[..., c]) for c in range(5))


CHOSEN = {
    "alexnet": "features.11",
    "convnext": "features",
    "densenet": "features",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception": "Mixed_7c",
    "maxvit": "blocks.3",
    "mnasnet": "layers",
    "mobilenet": "features",
    "regnet": "trunk_output",
    "resnet": "layer4",
    "resnext": "layer4",
    "shufflenet": "conv5",
    "squeezenet": "features",
    "swin": "norm",
    "vit": "encoder.layers.encoder_layer_{last}.ln_1",
    "wide": "layer4",
}
VGG_LAST_RELU = {"vgg11": 19, "vgg13": 23, "vgg16": 29, "vgg19": 35}
VGG_LAST_RELU |= {"vgg11_bn": 27, "vgg13_bn": 33, "vgg16_bn": 42, "vgg19_bn": 51}
FIXED_SIZE = {"maxvit_t": 224, "inception_v3": 150}


def built(name: str) -> tuple[nn.Module, int]:
    """The builder's net with random weights, drawn the quick way where its constructor allows, and an image size."""
    options: dict[str, object] = {}
    size = FIXED_SIZE.get(name, 128)
    if name.startswith("vit"):
        size = 14 * 6 if "14" in name else 32 * 4
        options["image_size"] = size
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": True}
    if name.startswith(("regnet", "maxvit", "swin")):
        return models.get_model(name, weights=None, **options), size
    with torch.device("meta"):
        model = models.get_model(name, weights=None, **options)
    model = model.to_empty(device="cpu")
    for value in model.parameters():
        value.data.uniform_(-0.02, 0.02)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    return model, size


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_the_layer_chosen_in_every_torchvision_classifier(name: str) -> None:
    model, size = built(name)
    choice = chosen_layer(model, torch.randn(1, 3, size, size))
    family = name.replace("_", " ").split()[0].rstrip("0123456789")
    last = len(model.encoder.layers) - 1 if family == "vit" else 0
    expected = f"features.{VGG_LAST_RELU[name]}" if family == "vgg" else CHOSEN[family].format(last=last)
    assert choice.layer.name == expected
    assert "last feature map with space" in choice.why
    assert ("one step back" in choice.why) == (family == "vit")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet18", {}, "layer4"),
        ("vit_tiny_patch16_224", {}, "blocks.11.norm1"),
        ("deit_tiny_distilled_patch16_224", {}, "blocks.11.norm1"),
        ("swin_tiny_patch4_window7_224", {}, "norm"),
        ("convnext_atto", {}, "stages"),
        ("efficientnet_b0", {}, "bn2"),
        ("mobilenetv3_small_100", {}, "blocks"),
        ("mixer_s32_224", {}, "norm"),
        ("vgg11", {}, "features.19"),
        ("densenet121", {}, "features"),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 224}, "blocks.11.norm1"),
    ],
)
def test_the_layer_chosen_in_timm(name: str, options: dict[str, object], expected: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    model = timm.create_model(name, pretrained=False, **options)
    assert chosen_layer(model, torch.randn(1, 3, 224, 224)).layer.name == expected


def test_a_class_token_vits_patches_get_a_map_and_its_last_block_is_refused() -> None:
    model = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
    image = torch.randn(2, 3, 32, 32)
    assert chosen_layer(model, image).layer.name == "encoder.layers.encoder_layer_1.ln_1"
    with pytest.raises(
        CutOff, match=r"only the class token of layer 'encoder.layers.encoder_layer_1' reaches the score"
    ):
        maps(model, image, 1, layer="encoder.layers.encoder_layer_1")
    assert maps(model, image, 1, method="hires-cam").abs().amin((1, 2)).min() > 0


def test_a_zero_initialised_head_does_not_mislead_the_choice() -> None:
    model = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    assert chosen_layer(model, torch.randn(1, 3, 32, 32)).layer.name == "encoder.layers.encoder_layer_1.ln_1"


def test_a_score_map_is_no_feature_map() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert chosen_layer(net, torch.randn(1, 3, 16, 16)).layer.name == "1"


def test_a_small_image_moves_the_choice_to_a_layer_that_still_has_space(resnet: nn.Module) -> None:
    assert chosen_layer(resnet, torch.randn(1, 3, 32, 32)).layer.name == "layer3"


def test_a_model_without_space_says_so() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(NoSpace, match="name a layer"):
        chosen_layer(net, torch.randn(1, 3, 4, 4))


class WithAuxiliary(nn.Module):
    """A net whose second head, called last, has no part in the first output."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.classifier = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 5, 1)
        self.auxiliary = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 5, 1))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.trunk(image)
        return {"out": self.classifier(seen).mean((2, 3)), "aux": self.auxiliary(seen).mean((2, 3))}


def test_a_head_that_does_not_reach_the_score_blocks_no_other_layer() -> None:
    choice = chosen_layer(WithAuxiliary(), torch.randn(1, 3, 16, 16))
    assert (choice.layer.name, choice.why) == ("trunk", "the last feature map with space, 8 x 8")
