"""ViLT: one of a list of answers to a question about an image."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sightline.engine import Adapted
from sightline.errors import TargetError
from sightline.model import Model, Task
from sightline.sources.hugging_face.place import Place

PATCHES = "patches"


def with_answers(model: Model, module: Any, place: Place) -> Model:
    """A model that is asked a question, and then gives logits (N, answers) of images alone.

    Its blocks see text and image tokens as one sequence, in which no grid can be told. So the image's tokens, as each
    block's attention reads them, pass through a module of their own, `patches`, and there is the grid: the last call
    of it is the last place from which positions reach the score.
    """
    module.add_module(PATCHES, Patches())
    answers = Answers(module, place.tokenizer())
    return replace(model, module=answers(""), task=Task.ANSWERS, answers=answers, layer=PATCHES)


class Patches(nn.Module):
    """Image tokens as a grid (N, C, h, w), unchanged: a place to ask about."""

    def forward(self, grid: Tensor) -> Tensor:
        return grid.clone()


@dataclass(frozen=True)
class Answers:
    """A question -> the model as it is asked that. Raises TargetError for a question that is too long."""

    module: Any
    tokenizer: Any

    def __call__(self, question: str) -> Adapted:
        tokens = self.tokenizer(question).input_ids
        most = self.module.config.max_position_embeddings
        if len(tokens) > most:
            raise TargetError(f"the question has {len(tokens)} tokens and the model reads {most}; shorten it")
        return Adapted(self.module, _Asked(tuple(tokens)))


@dataclass(frozen=True)
class _Asked:
    """ViLT's forward with its question fixed.

    Written out, because the model's own draws the order of the image's tokens anew each time (and, where its
    max_image_length is less than their number, which it sees). Positions are added before, so the answers are the
    same: each token is seen, in the image's order.
    """

    tokens: tuple[int, ...]
    mixes: ClassVar[str] = "text"

    def __call__(self, module: Any, image: Tensor) -> Tensor:
        vilt = module.vilt
        ids = torch.tensor([self.tokens], device=image.device).expand(len(image), -1)
        seen, size = _image_tokens(vilt.embeddings, image)
        every = torch.ones_like(ids), torch.ones_like(seen[..., 0], dtype=torch.long)
        tokens, _ = vilt.embeddings(ids, every[0], None, None, every[1], None, seen)
        start = len(self.tokens) + 1
        for block in vilt.encoder.layer:
            given = block.layernorm_before(tokens)
            grid = module.get_submodule(PATCHES)(given[:, start:].transpose(1, 2).unflatten(2, size))
            given = torch.cat([given[:, :start], grid.flatten(2).transpose(1, 2)], 1)
            tokens = tokens + block.attention(given)[0]
            tokens = block.output(block.intermediate(block.layernorm_after(tokens)), tokens)
        found: Tensor = module.classifier(vilt.pooler(vilt.layernorm(tokens)))
        return found


def _image_tokens(embeddings: Any, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The image's tokens (N, 1 + h w, C), its class token first, with their positions, and the grid's size (h, w)."""
    grid = embeddings.patch_embeddings(image)
    size = grid.shape[2:]
    config, known = embeddings.config, embeddings.position_embeddings
    side = config.image_size // config.patch_size
    positions = known[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    grid = grid + interpolate(positions, size, mode="bilinear", align_corners=True)
    first = (embeddings.cls_token + known[:, :1]).expand(len(image), -1, -1)
    return torch.cat([first, grid.flatten(2).transpose(1, 2)], 1), (size[0], size[1])
