"""Language: the log-probability of words that a model writes about an image, one by one or as a whole."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.scores import Target, logits, named


def written(tokens: Sequence[int], part: slice = slice(None)) -> Target:
    """The log-probability that the model writes these tokens, or a part of them, each after those before it.

    The model gives logits (N, T, vocabulary), row t for token t, with the tokens before it fixed. The sum over a
    sentence is the Grad-CAM paper's score of a caption (arXiv 1610.02391, section 7.1).
    Raises TargetError where the model gives fewer rows or knows fewer tokens.
    """
    ids = torch.tensor(list(tokens), dtype=torch.long)
    if not len(ids[part]) or int(ids.min()) < 0:
        raise TargetError(f"the tokens {list(tokens)} have none to score in {part}; expected token ids, 0 and more")

    def score(output: Any) -> Tensor:
        values = logits(output)
        if values.ndim != 3 or values.shape[1] < len(ids):
            raise TargetError(
                f"the model gives {tuple(values.shape)}; expected logits (N, T, vocabulary) of {len(ids)} tokens"
            )
        if int(ids.max()) >= values.shape[2]:
            raise TargetError(f"no token {int(ids.max())}: the model knows {values.shape[2]}")
        shares = wide(values[:, : len(ids)]).log_softmax(2)
        own = shares.gather(2, ids.to(values.device).expand(len(values), -1)[..., None])[..., 0]
        return own[:, part].sum(1)

    return named(score, "what is written")
