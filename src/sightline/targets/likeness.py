"""Embeddings: how like another embedding, of a picture or of a text, an image's own is."""

from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.scores import Target, logits, named


def embedding(output: Any) -> Tensor:
    """The embeddings (N, D) in an output: the tensor itself, or the fields that image and vision models give."""
    for name in ("image_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            output = found
            break
    found = logits(output)
    if found.ndim != 2:
        raise TargetError(f"the model gives {tuple(found.shape)}, not one embedding per image (N, D)")
    return found


def like(reference: Tensor) -> Target:
    """The cosine, in -1..1, of an image's embedding with the reference (D,), or (N, D) for one of each image."""

    if not reference.any():
        raise TargetError("the embedding to compare with is all zeros, and nothing is like it")

    def score(output: Any) -> Tensor:
        own = wide(embedding(output))
        if reference.shape[-1] != own.shape[1]:
            raise TargetError(f"embeddings have {own.shape[1]} numbers, the reference has {reference.shape[-1]}")
        return cosine_similarity(own, reference.to(own).reshape(-1, own.shape[1]), dim=1)

    return named(score, "likeness")
