"""Small transformers of every make, and one torchvision's worked out by hand, token by token.

Grids are 4 x 4 unless said otherwise. Every parameter is drawn, for makers leave heads at zero.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torchvision
from nets import seeded
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer


def drawn(build: Callable[[], nn.Module], std: float = 0.3) -> nn.Module:
    """What `build` gives, with every parameter drawn from a normal distribution, about 1 for a norm's weights."""

    def built() -> nn.Module:
        net = build()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                centre = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
                parameter.copy_(centre + std * torch.randn(parameter.shape))
        return net

    return seeded(built)


def torchvision_vit(*, layers: int = 2, grid: int = 4, std: float = 0.3) -> VisionTransformer:
    return drawn(
        lambda: VisionTransformer(
            image_size=8 * grid, patch_size=8, num_layers=layers, num_heads=2, hidden_dim=12, mlp_dim=20, num_classes=5
        ),
        std,
    )


def timm_vit(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    return drawn(lambda: timm.create_model(name, **{**small, **options}))


def hugging_face(kind: str = "ViTForImageClassification", *, implementation: str = "sdpa", **options: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, kind.split("For")[0].removesuffix("Model") + "Config")(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        num_labels=5, attn_implementation=implementation, **options,
    )  # fmt: skip
    return drawn(lambda: getattr(transformers, kind)(config))


def swin(maker: str) -> nn.Module:
    """A Swin of two stages: images of 32 pixels become 8 x 8 tokens in windows of 4 x 4, then 4 x 4 tokens."""
    if maker == "torchvision":
        return drawn(lambda: torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5))
    timm = pytest.importorskip("timm")
    small = {"img_size": 32, "window_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "num_classes": 5}
    return drawn(lambda: timm.create_model("swin_tiny_patch4_window7_224", **small))


class Uniform(nn.Module):
    """The least transformer: each token takes the mean of all tokens (attention 1 / T) to itself, block after block.

    An image (N, C, H, W) is its own grid of tokens, of C features, after a class token of zeros.
    The score is linear in the class token, or, without one, in the mean token.
    """

    def __init__(self, weights: Tensor, *, blocks: int = 1, prefix: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Averaging() for _ in range(blocks)])
        self.weights, self.prefix = nn.Parameter(weights), prefix

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        if self.prefix:
            tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return (tokens[:, 0] if self.prefix else tokens.mean(1)) @ self.weights.T


class _Averaging(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        alike = (0 * tokens) @ tokens.transpose(1, 2)
        return tokens + alike[:, None].softmax(-1).squeeze(1) @ tokens


def attention_of(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A block's attention (N, heads, T, T) to tokens (N, T, D), and its values, from its weights in plain loops."""
    attention: Any = block.self_attention
    n_, t_, d_ = tokens.shape
    wide = d_ // attention.num_heads
    parts = [
        tokens @ weight.T + bias
        for weight, bias in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    ]
    queries, keys, values = (part.reshape(n_, t_, attention.num_heads, wide) for part in parts)
    images = []
    for n in range(n_):
        heads = []
        for head in range(attention.num_heads):
            rows = []
            for i in range(t_):
                logits = torch.stack([(queries[n, i, head] * keys[n, j, head]).sum() for j in range(t_)])
                likely = (logits / wide**0.5).exp()
                rows.append(likely / likely.sum())
            heads.append(torch.stack(rows))
        images.append(torch.stack(heads))
    return torch.stack(images), values.transpose(1, 2)


def by_hand(net: VisionTransformer, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Scores (N, M), each block's attention (N, heads, T, T) and the tokens (N, T, D) that it gives, with their graph.

    No torch attention is called: each is the loops of `attention_of`.
    """
    tokens = net.conv_proj(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.class_token.expand(len(images), 1, -1), tokens], 1) + net.encoder.pos_embedding
    attentions, outputs = [], []
    for block in net.encoder.layers:
        attention, values = attention_of(block, block.ln_1(tokens))
        attentions.append(attention)
        mixed = (attention @ values).transpose(1, 2).flatten(2)
        tokens = tokens + mixed @ block.self_attention.out_proj.weight.T + block.self_attention.out_proj.bias
        tokens = tokens + block.mlp(block.ln_2(tokens))
        outputs.append(tokens)
    return net.heads(net.encoder.ln(tokens)[:, 0]), attentions, outputs


@contextmanager
def kernels(*, flash: bool, efficient: bool, cudnn: bool, math: bool) -> Iterator[None]:
    """torch's process-wide choice of attention kernels, inside the block."""
    before = kernels_on()
    try:
        _choose(flash, efficient, cudnn, math)
        yield
    finally:
        _choose(*before)


def kernels_on() -> tuple[bool, bool, bool, bool]:
    """Which kernels (flash, efficient, cudnn, math) scaled_dot_product_attention may take."""
    cuda = torch.backends.cuda
    return (
        cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled(), cuda.math_sdp_enabled(),
    )  # fmt: skip


def _choose(flash: bool, efficient: bool, cudnn: bool, math: bool) -> None:
    torch.backends.cuda.enable_flash_sdp(flash)
    torch.backends.cuda.enable_mem_efficient_sdp(efficient)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)
    torch.backends.cuda.enable_math_sdp(math)
