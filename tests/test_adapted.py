"""Models with other inputs beside the image, and models called in another way: the maps are the plain model's."""

import copy
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.engine import Adapted, Inputs, borrowed
from sightline.errors import ModelError
from sightline.targets import written

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
    for count, given in ((3, 2), (1, 3), (1, 2)):
        with pytest.raises(
            ModelError, match=rf"'gate' has {given} rows for {count} images?; give it one row, or one for"
        ):
            sightline.maps(Gated(), images[:count], 1, inputs={"gate": gates[:given]}, layer="conv")
    with pytest.raises(ModelError, match="'gate' has 3 rows, and any picture may be asked about; give it one row"):
        sightline.wrap(Gated(), inputs={"gate": gates})
    with pytest.raises(ModelError, match="inputs are a mapping from names to values, got list"):
        sightline.wrap(Gated(), inputs=[gates])  # type: ignore[arg-type]


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


def test_what_the_model_raises_on_wrong_inputs_is_one_line(images: Tensor) -> None:
    with pytest.raises(ModelError, match=r"Gated failed on an image of shape \(3, 3, 16, 16\).*gat"):
        sightline.maps(Gated(), images, 1, inputs={"gat": torch.ones(1, 4)}, layer="conv")


class Greedy(Gated):
    """The same, which spoils what it was given."""

    def forward(self, image: Tensor, gate: Tensor, *, scale: float = 1.0) -> Tensor:
        return super().forward(image, gate.mul_(0.5), scale=scale)


def test_an_input_that_the_model_overwrites_stays_as_it_was(images: Tensor, gates: Tensor) -> None:
    before = gates.clone()
    for method in ("grad-cam", "occlusion:window=8:stride=8"):
        sightline.maps(Greedy(), images, 1, inputs={"gate": gates}, layer="conv", method=method)
    assert torch.equal(gates, before)


class Pair(nn.Module):
    """How like two images are, by one encoder, which is called for the image first and then for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return (self.encoder(image).mean((2, 3)) * self.encoder(other).mean((2, 3))).sum(1, keepdim=True)


def test_of_a_layer_called_for_two_images_the_call_for_the_one_asked_about_is_chosen() -> None:
    image, other = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 16, 16)
    image[..., :8, :8], other[..., 8:, 8:] = 3, 3
    net = Pair()
    found = sightline.maps(net, image, 0, inputs={"other": other})
    assert_close(found, sightline.maps(net, image, 0, inputs={"other": other}, layer=("encoder", 0)))
    assert found.shape == (1, 8, 8)


class Between(Pair):
    """The same, with the image called for between two calls for the other."""

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        first, seen, last = self.encoder(other), self.encoder(image), self.encoder(other)
        return (seen.mean((2, 3)) * (first + last).mean((2, 3))).sum(1, keepdim=True)


def test_the_images_call_is_told_by_what_depends_on_it_wherever_it_comes() -> None:
    image, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    net = Between()
    found = sightline.maps(net, image, 0, inputs={"other": other})
    assert_close(found, sightline.maps(net, image, 0, inputs={"other": other}, layer=("encoder", 1)))
    assert found.abs().max() > 0 or not net.encoder(image).any()


class Teller(nn.Module):
    """An image starts an LSTM that reads four tokens: its states look like a grid of 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.word = nn.Conv2d(3, 8, 3, 2, 1), nn.Embedding(9, 8)
        self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 9)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        start = self.conv(image).relu().mean((2, 3))[None]
        states, _ = self.lstm(self.word(tokens), (start, start))
        return self.head(states)


def test_a_sequence_of_words_is_no_grid_of_positions() -> None:
    image, tokens = torch.randn(1, 3, 32, 32), torch.tensor([[1, 2, 3, 4]])
    target = written([1, 2, 3, 4])
    net = Teller()
    found = sightline.maps(net, image, target, inputs={"tokens": tokens})
    assert found.shape == (1, 16, 16)
    assert_close(found, sightline.maps(net, image, target, inputs={"tokens": tokens}, layer="conv"))


@dataclass
class Seen:
    """What a model gives, in a container of its own: a row for each image, and what is the same for all."""

    rows: Tensor
    known: Tensor


class Comparing(nn.Module):
    """An embedding of each image beside those of seven known things."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.known = nn.Conv2d(3, 5, 3, 2, 1), nn.Parameter(torch.randn(7, 5))

    def forward(self, image: Tensor) -> Seen:
        return Seen(self.conv(image).relu().mean((2, 3)), self.known)


@pytest.mark.parametrize("as_mapping", [True, False])
@pytest.mark.parametrize("method", ["occlusion:window=8:stride=8", "ablation-cam", "score-cam"])
def test_what_an_output_holds_beside_the_images_rows_stays_whole(images: Tensor, as_mapping: bool, method: str) -> None:
    net = Comparing()

    def flat(image: Tensor) -> Tensor:
        found = net(image)
        return found.rows @ found.known.T

    model = sightline.wrap(net, call=lambda module, image: vars(module(image)) if as_mapping else module(image))

    def third(output: Any) -> Tensor:
        seen = output if as_mapping else vars(output)
        return (seen["rows"] @ seen["known"].T)[:, 2]

    plain = sightline.wrap(net, call=lambda module, image: flat(image)).module
    expected = sightline.maps(plain, images, 2, layer="conv", method=method)
    assert_close(sightline.maps(model.module, images, third, layer="conv", method=method), expected)


def test_the_weights_are_the_same_however_the_model_is_called() -> None:
    net = Gated()
    assert sightline.wrap(net).weights_hash == sightline.wrap(net, inputs={}).weights_hash
