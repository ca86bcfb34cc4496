"""Models with other inputs beside the image, and models called in another way: the maps are the plain model's."""

import copy
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.engine import Adapted, Inputs, borrowed
from sightline.errors import ModelError

METHODS = ["grad-cam", "saliency", "guided-backprop", "occlusion:window=8:stride=8", "ablation-cam", "rise:masks=20"]


class Gated(nn.Module):
    """A convolution whose channels are weighted by another input (N, 4) before they are pooled: maps are known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, image: Tensor, gate: Tensor, *, scale: float = 1.0) -> Tensor:
        return scale * self.head(self.conv(image).relu().mean((2, 3)) * gate)


class ByName(Gated):
    """The same, with its image in the second place."""

    def forward(self, gate: Tensor, pixels: Tensor, **more: float) -> Tensor:  # type: ignore[override]
        return super().forward(pixels, gate, **more)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 16)


@pytest.fixture
def gates() -> Tensor:
    return torch.rand(3, 4)


def by_hand(net: Gated, image: Tensor, gate: Tensor, index: int, scale: float = 1.0) -> Tensor:
    """relu(sum_k w_k A_k) with w_k = head_k gate_k scale / cells, of one image."""
    activations = net.conv(image[None])[0].detach()
    weights = net.head.weight[index].detach() * gate * scale / activations[0].numel()
    weights = weights[:, None, None] * (activations > 0)
    return (weights.mean((1, 2))[:, None, None] * activations).sum(0).relu()


def test_each_image_has_its_own_row_of_another_input(images: Tensor, gates: Tensor) -> None:
    net = Gated()
    found = sightline.maps(net, images, [0, 1, 0], inputs={"gate": gates, "scale": 2.0}, layer="conv")
    for n, index in enumerate([0, 1, 0]):
        assert_close(found[n], by_hand(net, images[n], gates[n], index, 2.0))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images_one_by_one_for_methods_of_every_kind(images: Tensor, gates: Tensor, method: str) -> None:
    net = Gated()
    net.conv.weight.data.abs_()
    together = sightline.maps(net, images, [0, 1, 0], inputs={"gate": gates}, method=method)
    for n, index in enumerate([0, 1, 0]):
        alone = sightline.maps(net, images[n : n + 1], index, inputs={"gate": gates[n : n + 1]}, method=method)
        assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-6)
    assert together.abs().max() > 0


def test_one_row_serves_all_images(images: Tensor, gates: Tensor) -> None:
    net = Gated()
    found = sightline.maps(net, images, 1, inputs={"gate": gates[:1]})
    assert_close(found, sightline.maps(net, images, 1, inputs={"gate": gates[:1].expand(3, 4)}))


def test_a_wrong_number_of_rows_is_an_error(images: Tensor, gates: Tensor) -> None:
    with pytest.raises(ModelError, match=r"'gate' has 2 rows for 3 images; give it one row, or one for each image"):
        sightline.maps(Gated(), images, 1, inputs={"gate": gates[:2]}, layer="conv")


def test_the_image_may_be_an_input_of_any_name(images: Tensor, gates: Tensor) -> None:
    net = ByName()
    model = sightline.wrap(net, inputs={"gate": gates[:1]}, image_name="pixels")
    assert model.name == "ByName"
    expected = by_hand(net, images[0], gates[0], 1)
    assert_close(sightline.maps(model.module, images[:1], 1, layer="conv")[0], expected)


def test_a_model_may_be_called_in_any_way(images: Tensor, gates: Tensor) -> None:
    net, gate = Gated(), gates[:1]
    model = sightline.wrap(net, call=lambda module, image: {"logits": module(image, gate.expand(len(image), -1))})
    assert_close(sightline.maps(model.module, images[:1], 1, layer=net.conv)[0], by_hand(net, images[0], gate[0], 1))


def test_layers_keep_their_names_and_the_model_is_left_as_found(images: Tensor, gates: Tensor) -> None:
    net = Gated().train()
    adapted = Adapted(net, Inputs({"gate": gates}))
    assert dict(adapted.named_modules()) == dict(net.named_modules())
    sightline.maps(adapted, images, 1)
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


def test_two_threads_that_ask_one_model_in_two_ways_share_one_loan(gates: Tensor) -> None:
    net = Gated().train()
    one, other = Adapted(net, Inputs({"gate": gates[:1]})), Adapted(net, Inputs({"gate": gates[1:2]}))
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with borrowed(one):
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with borrowed(other):
        leave.set()
        thread.join(5)
        assert not net.conv.training, "the first to end must not take the model from the second"
    assert net.conv.training


def test_a_copy_is_called_alike_with_its_own_weights(images: Tensor, gates: Tensor) -> None:
    adapted = Adapted(Gated(), Inputs({"gate": gates[:1]}))
    other = copy.deepcopy(adapted)
    other.module.head.weight.data.neg_()  # type: ignore[union-attr, operator]
    assert_close(adapted(images), -other(images))


def test_there_is_no_such_task() -> None:
    with pytest.raises(ModelError, match="no task 'poetry'; choose classes, answers, values, regions"):
        sightline.wrap(Gated(), task="poetry")
