"""SS-CAM: Score-CAM whose scores are averaged over noisy masks.

Wang et al., *SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization*, 2020, arXiv
2006.14255, the variant that smooths the masks (the other one smooths the image). As in torch-cam
the noise lies on the normalised mask, pixel by pixel, and isn't clipped; its sigma of 2 is kept.
It takes 35 samples; 10 are drawn here unless told, for each costs a pass per channel.
"""

import torch

from sightline.errors import MethodError
from sightline.methods.score_cam import masks, weighted
from sightline.types import Maps, Questions


def ss_cam(ask: Questions, *, generator: torch.Generator, samples: int = 10, sigma: float = 2.0) -> Maps:
    """Score-CAM with w = softmax over channels of mean f((M_k + noise) o X), noise ~ N(0, sigma^2)."""
    if samples < 1 or sigma < 0:
        raise MethodError(
            f"ss-cam averages over at least 1 sample of noise of at least 0, got samples={samples}, sigma={sigma}; "
            "leave them out for 10 and 2.0"
        )
    activations, scores = ask.activations(), []
    for part in ask.parts(activations.shape[2] * samples):
        each = range(part.start, part.stop)
        # one plane at a time: what is drawn doesn't depend on how large a part is
        noise = torch.stack([torch.randn(ask.image.shape[2:], generator=generator) for _ in each]).to(ask.image)
        plain = masks(activations[:, 0, [at // samples for at in each]], ask.grid, ask.image)
        seen_through = plain + sigma * noise
        scores.append(ask.of_images(ask.image[:, None] * seen_through[:, :, None]))
    of_channels = torch.cat(scores, 1).view(len(activations), -1, samples, ask.scores.shape[1])
    return weighted(activations, of_channels.mean(2))
