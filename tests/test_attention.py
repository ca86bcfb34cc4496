"""Attention weights and gradients as the engine reads them, whoever wrote the attention; and Grad-CAM on tokens."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from nets import captured, grad_cam_of, image, relative_error, seeded
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from vits import by_hand, drawn, hugging_face, kernels, kernels_on, swin, timm_vit, torchvision_vit

import sightline
from sightline.engine.attention import attentions
from sightline.errors import MethodError, ModelError


def logits(output: Any) -> Tensor:
    return getattr(output, "logits", output)


def first_two(output: Any) -> Tensor:
    """The scores of two classes."""
    return logits(output)[:, :2]


def equal(found: Any, true: Any, *, closer_than: float = 1e-5) -> None:
    """The same attentions, as a share of each one's largest value."""
    for one, other in zip(found, true, strict=True):
        assert (one.prefix, one.grid) == (other.prefix, other.grid)
        assert relative_error(one.weights, other.weights) < closer_than
        assert relative_error(one.gradients, other.gradients) < closer_than


# What is read


@pytest.mark.parametrize("layerwise", [False, True])
def test_weights_and_gradients_are_those_by_hand(layerwise: bool) -> None:
    net, images = torchvision_vit(layers=3, grid=2).double(), image(2, 16, 16, dtype=torch.float64)
    output, found = attentions(net, images, first_two, layerwise=layerwise)
    scores, true, outputs = by_hand(net, images)
    assert_close(output, scores)
    for at, (one, weights) in enumerate(zip(found, true, strict=True)):
        assert (one.prefix, one.grid) == (1, (2, 2))
        assert_close(one.weights, weights[:, None].detach())
        of = net.heads(net.encoder.ln(outputs[at].mean(1))) if layerwise else scores
        slopes = [torch.autograd.grad(of[:, k].sum(), weights, retain_graph=True)[0] for k in (0, 1)]
        assert_close(one.gradients, torch.stack(slopes, 1))


@pytest.mark.parametrize("layerwise", [False, True])
@pytest.mark.parametrize("options", [{}, {"global_pool": "avg"}], ids=["class token", "mean"])
def test_fused_is_as_written_out_timm(options: dict[str, Any], layerwise: bool) -> None:
    fused, images = timm_vit(**options), image(2, 32, 32)
    written = copy.deepcopy(fused)
    for block in written.blocks:
        assert block.attn.fused_attn
        block.attn.fused_attn = False
    equal(
        attentions(fused, images, first_two, layerwise=layerwise)[1],
        attentions(written, images, first_two, layerwise=layerwise)[1],
    )


@pytest.mark.parametrize("layerwise", [False, True])
@pytest.mark.parametrize("kind", ["ViTForImageClassification", "Dinov2ForImageClassification"])
def test_fused_is_as_written_out_hugging_face(kind: str, layerwise: bool) -> None:
    fused, images = hugging_face(kind), image(2, 32, 32)
    written = hugging_face(kind, implementation="eager")
    found = attentions(fused, images, first_two, layerwise=layerwise)[1]
    equal(found, attentions(written, images, first_two, layerwise=layerwise)[1])
    theirs = written(images, output_attentions=True)
    for k in (0, 1):
        slopes = torch.autograd.grad(theirs.logits[:, k].sum(), theirs.attentions, retain_graph=True)
        for one, weights, slope in zip(found, theirs.attentions, slopes, strict=True):
            assert relative_error(one.weights[:, 0], weights.detach()) < 1e-5
            assert layerwise or relative_error(one.gradients[:, k], slope) < 1e-5


@pytest.mark.parametrize("layerwise", [False, True])
def test_batch_first_or_not_and_weights_asked_for_or_not(layerwise: bool) -> None:
    """torch's own encoder, whose fast path knows no gradient; tokens first; and MultiheadAttention's other branch."""
    first, images = drawn(lambda: Encoder(batch_first=True)), image(3, 4, 4)
    second, third = drawn(lambda: Encoder(batch_first=False)), drawn(lambda: Encoder(batch_first=True, weights=True))
    true = attentions(first, images, first_two, layerwise=layerwise)
    assert len(true[1]) == 2
    for net in (second, third):
        net.load_state_dict(first.state_dict())
        output, found = attentions(net, images, first_two, layerwise=layerwise)
        assert_close(output, true[0])
        equal(found, true[1])


class Encoder(nn.Module):
    """nn.TransformerEncoder over pixels, read at the mean token."""

    def __init__(self, *, batch_first: bool, weights: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 10, dropout=0.0, batch_first=batch_first)
        self.embed, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.batch_first = batch_first
        for each in self.encoder.layers if weights else ():
            each.self_attn.register_forward_pre_hook(
                lambda module, inputs, options: (inputs, {**options, "need_weights": True}), with_kwargs=True
            )

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        if self.batch_first:
            return self.head(self.encoder(tokens).mean(1))
        return self.head(self.encoder(tokens.transpose(0, 1)).mean(0))


@pytest.mark.parametrize(
    ("build", "prefix", "read"),
    [
        (torchvision_vit, 1, [0]),
        (timm_vit, 1, [0]),
        (lambda: timm_vit(global_pool="avg"), 1, range(1, 17)),
        (lambda: timm_vit(global_pool="avg", class_token=False), 0, range(16)),
        (lambda: timm_vit("vit_base_patch16_siglip_224"), 0, range(16)),  # read by an attention that pools
        (lambda: timm_vit("deit_tiny_distilled_patch16_224"), 2, [0, 1]),
        (lambda: timm_vit("vit_small_patch14_reg4_dinov2"), 5, [0]),
        (lambda: timm_vit("cait_xxs24_224"), 0, range(16)),  # the class token comes after, and looks alone
        (lambda: timm_vit("beit_base_patch16_224"), 1, range(1, 17)),
        (hugging_face, 1, [0]),
        (lambda: hugging_face("DeiTForImageClassificationWithTeacher"), 2, [0, 1]),
        (lambda: hugging_face("Dinov2WithRegistersForImageClassification"), 5, [0, *range(5, 21)]),
    ],
    ids=["torchvision", "timm", "mean of patches", "no class token", "siglip", "distilled", "registers", "cait", "beit",
         "hugging face", "hugging face distilled", "hugging face registers"],
)  # fmt: skip
def test_every_make_has_its_tokens_found(build: Callable[[], nn.Module], prefix: int, read: Any) -> None:
    net, images = build(), image(2, 32, 32)
    for layerwise in (False, True):
        _, found = attentions(net, images, first_two, layerwise=layerwise)
        assert [(one.prefix, one.grid) for one in found] == [(prefix, (4, 4))] * 2
        for one in found:
            assert one.gradients.shape == (2, 2, *one.weights.shape[2:])
            assert_close(one.weights.sum(-1), torch.ones(2, 1, 2, 16 + prefix))
    _, found = attentions(net, images, first_two)
    rows = (found[-1].gradients != 0).any(-1).any(2)
    assert all(rows[n, k].nonzero().flatten().tolist() == list(read) for n in (0, 1) for k in (0, 1))


def test_of_two_kinds_of_attention_only_that_of_the_image_counts() -> None:
    """A text encoder's attention, trained with the rest, isn't the image's."""
    net = drawn(Bimodal)
    assert next(net.text.parameters()).requires_grad
    _, found = attentions(net, image(2, 4, 4), first_two)
    assert [one.weights.shape for one in found] == [(2, 1, 2, 16, 16)] * 2


class Bimodal(nn.Module):
    """An image's tokens against words, each with an encoder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = Encoder(batch_first=True)
        self.text = nn.TransformerEncoderLayer(4, 2, 10, batch_first=True)
        self.words = nn.Parameter(torch.zeros(5, 7, 4))

    def forward(self, images: Tensor) -> Tensor:
        return self.vision(images) @ self.text(self.words).mean(1).T


def test_gradient_checkpointing_hides_nothing() -> None:
    net, images = timm_vit(), image(2, 32, 32)
    for layerwise in (False, True):
        net.set_grad_checkpointing(False)
        true = attentions(net, images, first_two, layerwise=layerwise)[1]
        net.set_grad_checkpointing(True)
        equal(attentions(net, images, first_two, layerwise=layerwise)[1], true)


def test_half_precision_keeps_small_gradients() -> None:
    """Gradients about 1e-6, of which float16 alone keeps few digits."""
    net, images = torchvision_vit(), image(2, 32, 32)
    weak: Callable[[Any], Tensor] = lambda output: first_two(output) * 2**-16  # noqa: E731
    true = attentions(net, images, weak)[1]
    found = attentions(copy.deepcopy(net).half(), images.half(), weak)[1]
    assert found[0].gradients.dtype is torch.float32
    assert float(true[0].gradients.abs().max()) < 1e-4
    equal(found, true, closer_than=0.01)


class _Convolutions(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten.convolution
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("fickle", "passes"), [(False, 2), (True, 6)], ids=["replayed", "run again"])
def test_blocks_cost_a_head_each_or_a_pass_where_the_code_varies(fickle: bool, passes: int) -> None:
    """The patches' convolution runs once a pass; a net whose code is different each time is run as a whole."""
    net, images = torchvision_vit(layers=4), image(2, 32, 32)
    true = attentions(net, images, first_two, layerwise=True)[1]
    if fickle:
        calls: list[None] = []

        def vary(module: nn.Module, inputs: Any) -> None:
            calls.append(None)
            for _ in calls:
                torch.zeros(1)

        net.encoder.register_forward_pre_hook(vary)
    with _Convolutions() as convolutions:
        found = attentions(net, images, first_two, layerwise=True)[1]
    assert convolutions.count == passes
    equal(found, true, closer_than=1e-6)


# How it is left


def test_model_image_and_kernels_are_left_as_found() -> None:
    net, images = torchvision_vit().train(), image(2, 32, 32)
    net.requires_grad_(False)
    net.encoder.layers[0].eval()
    before, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    kept = images.clone()
    for layerwise in (False, True):
        with kernels(flash=True, efficient=False, cudnn=True, math=False), torch.inference_mode():
            attentions(net, images, first_two, layerwise=layerwise)
            assert kernels_on() == (True, False, True, False)
    assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert [module.training for module in net.modules()] == modes
    assert not any(p.requires_grad or p.grad is not None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(images, kept)
    assert not images.requires_grad


def test_parameters_that_train_get_no_gradient() -> None:
    net = torchvision_vit()
    attentions(net, image(2, 32, 32), first_two, layerwise=True)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize("when", ["in the model", "in the scores", "refused"])
def test_kernels_are_put_back_after_a_raise(when: str) -> None:
    net: nn.Module = torchvision_vit()
    scores: Callable[[Any], Tensor] = first_two
    error: type[Exception] = MethodError
    if when == "in the model":
        net.heads, error = nn.Linear(3, 5), ModelError
    elif when == "in the scores":
        scores, error = lambda output: output[:, 99], IndexError
    else:
        net = torchvision.models.resnet18(num_classes=5)
    with kernels(flash=False, efficient=True, cudnn=False, math=True):
        with pytest.raises(error):
            attentions(net, image(2, 32, 32), scores)
        assert kernels_on() == (False, True, False, True)
    assert not any(module._forward_hooks for module in net.modules())


def test_threads_share_the_switch() -> None:
    """The first to come switches fused kernels off, the last to go switches them on, whichever of the two that is."""
    nets, images, before = [torchvision_vit(), timm_vit()], image(2, 32, 32), kernels_on()
    true = [attentions(net, images, first_two)[1] for net in nets]
    found: list[Any] = [None, None]
    states: list[Any] = []
    entered, left = threading.Event(), threading.Event()

    def first(output: Any) -> Tensor:
        entered.set()
        assert left.wait(30)
        states.append(kernels_on())
        return first_two(output)

    def second(output: Any) -> Tensor:
        states.append(kernels_on())
        return first_two(output)

    def ask(at: int, scores: Callable[[Any], Tensor]) -> None:
        found[at] = attentions(nets[at], images, scores)[1]

    one = threading.Thread(target=ask, args=(0, first))
    one.start()
    assert entered.wait(30)
    other = threading.Thread(target=ask, args=(1, second))
    other.start()
    other.join()
    states.append(kernels_on())  # the other has gone, the first still needs it
    left.set()
    one.join()
    assert states == [(False, False, False, True)] * 3
    assert kernels_on() == before
    for at in (0, 1):
        equal(found[at], true[at])


def test_the_first_thread_may_leave_first() -> None:
    net, images, before = torchvision_vit(), image(2, 32, 32), kernels_on()
    inside, go = threading.Event(), threading.Event()

    def late(output: Any) -> Tensor:
        inside.set()
        assert go.wait(30)
        return first_two(output)

    def early(output: Any) -> Tensor:
        other.start()
        assert inside.wait(30)
        return first_two(output)

    other = threading.Thread(target=attentions, args=(copy.deepcopy(net), images, late))
    attentions(net, images, early)
    assert kernels_on() == (False, False, False, True)
    go.set()
    other.join()
    assert kernels_on() == before


# What is refused


class Handmade(nn.Module):
    """Attention over pixels, once, in the way that `attend` says."""

    def __init__(self, attend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embed, self.head, self.attend = nn.Conv2d(3, 4, 1), nn.Linear(4, 4), attend

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        return self.head((tokens + self.attend(tokens)).mean(1))


def by_exp(tokens: Tensor) -> Tensor:
    likely = (tokens @ tokens.transpose(1, 2)).exp()
    return likely / likely.sum(-1, keepdim=True) @ tokens


def without_a_graph(tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens


def over_queries(tokens: Tensor) -> Tensor:
    return (tokens @ tokens.transpose(1, 2)).softmax(1) @ tokens


def over_channels(tokens: Tensor) -> Tensor:
    """As in XCiT; 16 channels could be a grid of 4 x 4."""
    wide = torch.cat([tokens, tokens.roll(1, 1), tokens.sin(), tokens.cos()], 2)
    return (wide @ (wide.transpose(1, 2) @ wide).softmax(-1))[..., :4]


def among_latents(tokens: Tensor) -> Tensor:
    """As in a Perceiver: 16 latents look at the grid, then at each other."""
    latents = tokens[:, :16].sin()
    latents = nn.functional.layer_norm((latents @ tokens.transpose(1, 2)).softmax(-1) @ tokens, (4,))
    latents = (latents @ latents.transpose(1, 2)).softmax(-1) @ latents
    return latents.repeat(1, 4, 1)


def reduced(tokens: Tensor) -> Tensor:
    few = tokens[:, ::4]
    return (tokens @ few.transpose(1, 2)).softmax(-1) @ few


@pytest.mark.parametrize(
    ("build", "size", "message"),
    [
        (lambda: torchvision.models.resnet18(num_classes=5), 32, "ResNet records no softmax over tokens"),
        (lambda: swin("torchvision"), 32, "SwinTransformer attends within windows or groups of 16"),
        (lambda: swin("timm"), 32, "SwinTransformer attends within windows or groups of 16"),
        (lambda: timm_vit("xcit_nano_12_p16_224", embed_dim=64), 32, "Xcit attends within windows or groups of 32"),
        (lambda: Handmade(by_exp), 8, "a kernel of its own"),
        (lambda: Handmade(without_a_graph), 8, "torch.no_grad inside the model"),
        (lambda: Handmade(over_queries), 8, "records no softmax"),
        (lambda: Handmade(over_channels), 8, "windows or groups of 16"),
        (lambda: Handmade(among_latents), 8, "attends from 16 tokens to 64 others"),
        (lambda: Handmade(reduced), 8, "attends from 64 tokens to 16 others"),
    ],
    ids=["cnn", "swin", "timm swin", "xcit", "exp", "no_grad", "over queries", "over channels", "latents", "reduced"],
)
def test_what_is_not_over_one_grid_is_refused_by_name(build: Any, size: int, message: str) -> None:
    net, images = seeded(build), image(2, size, size)
    with pytest.raises(MethodError, match=rf"^mine needs attention over the whole grid; .*{message}.*; use grad-cam$"):
        attentions(net, images, first_two, method="mine")
    for method in ("attention-rollout", "attention-relevance", "legrad"):
        with pytest.raises(MethodError, match=message):
            sightline.maps(net, images, 0, method=method)


def test_a_grid_that_changes_is_refused() -> None:
    """Attention over 4 x 4 pixels, then over 2 x 2."""

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.second = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.embed, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.first(self.embed(images).flatten(2).transpose(1, 2))
            tokens = tokens.transpose(1, 2).unflatten(2, (4, 4))[..., ::2, ::2].flatten(2).transpose(1, 2)
            return self.head(self.second(tokens).mean(1))

    with pytest.raises(MethodError, match="changes its grid between layers"):
        attentions(seeded(Pyramid), image(2, 4, 4), first_two)


# Grad-CAM on tokens


@pytest.mark.parametrize(
    ("build", "layer", "prefix"),
    [
        (torchvision_vit, "encoder.layers.encoder_layer_1.ln_1", 1),
        (timm_vit, "blocks.1.norm1", 1),
        (lambda: timm_vit(global_pool="avg"), "blocks.1", 1),
        (lambda: timm_vit("vit_base_patch16_siglip_224"), "blocks.1", 0),
        (lambda: timm_vit("deit_tiny_distilled_patch16_224"), "blocks.1.norm1", 2),
        (lambda: timm_vit("vit_small_patch14_reg4_dinov2"), "blocks.1.norm1", 5),
        (hugging_face, "vit.layers.1.layernorm_before", 1),
        (lambda: hugging_face(implementation="eager"), "vit.layers.1.layernorm_before", 1),
        (lambda: swin("torchvision"), "features.3", -1),
        (lambda: swin("timm"), "layers.1", -1),
    ],
    ids=["torchvision", "timm", "mean of patches", "siglip", "distilled", "registers", "hugging face",
         "hugging face eager", "swin", "timm swin"],
)  # fmt: skip
def test_grad_cam_on_tokens(build: Callable[[], nn.Module], layer: str, prefix: int) -> None:
    """Of the patches, whatever stands before them, against gradients of an added zero; Swin's channels come last."""
    net, images = build(), image(2, 32, 32)
    activations, gradients = captured(net, net.get_submodule(layer), images, lambda output: logits(output)[:, 3])
    if prefix >= 0:
        activations, gradients = (each[:, prefix:].unflatten(1, (4, 4)) for each in (activations, gradients))
    true = grad_cam_of(activations.movedim(3, 1), gradients.movedim(3, 1))
    assert true.shape == (2, 4, 4)
    found = sightline.maps(net, images, 3, layer=layer)
    assert relative_error(found, true) < 1e-5
    chosen = sightline.maps(net, images, 3)
    assert chosen.shape == (2, 4, 4)
    assert chosen.isfinite().all()
    assert chosen.any()


def test_grad_cam_of_features_without_a_head() -> None:
    """Hugging Face's ViTModel gives tokens, not scores; a target says what is asked of them."""
    net, images = hugging_face("ViTModel"), image(2, 32, 32)
    score: Callable[[Any], Tensor] = lambda output: output.last_hidden_state[:, 0, :3].sum(1)  # noqa: E731
    activations, gradients = captured(net, net.layers[1].layernorm_before, images, score)
    patches = [each[:, 1:].unflatten(1, (4, 4)).movedim(3, 1) for each in (activations, gradients)]
    found = sightline.maps(net, images, score, layer="layers.1.layernorm_before")
    assert relative_error(found, grad_cam_of(*patches)) < 1e-5
