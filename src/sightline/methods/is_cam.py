"""IS-CAM: Score-CAM whose scores are averaged while the mask is turned up from nothing to its full strength.

Naidu et al., *IS-CAM: Integrated Score-CAM for axiomatic-based explanations*, 2020, arXiv
2010.03023. The integral is taken as the mean over intensities 1/N, 2/N, ... 1, of which 10 as in
torch-cam. There the intensities add up as the steps go on, to (N + 1) / 2 times the image, which
is nothing that the mask lets through; here they don't.
"""

import torch

from sightline.errors import MethodError
from sightline.methods.score_cam import masks, weighted
from sightline.types import Maps, Questions


def is_cam(ask: Questions, *, steps: int = 10) -> Maps:
    """Score-CAM with w = softmax over channels of mean_i f(i/N M_k o X), i = 1 ... N = steps."""
    if steps < 1:
        raise MethodError(f"is-cam goes from a black image to the mask in at least 1 step, got steps={steps}")
    activations, scores = ask.activations(), []
    for part in ask.parts(activations.shape[2] * steps):
        each = range(part.start, part.stop)
        strength = torch.tensor([(at % steps + 1) / steps for at in each], dtype=torch.float64).to(ask.image)
        seen_through = masks(activations[:, 0, [at // steps for at in each]], ask.grid, ask.image)
        faded = ask.image[:, None] * seen_through[:, :, None]
        scores.append(ask.of_images(faded * strength.view(-1, 1, *[1] * len(ask.grid))))
    of_channels = torch.cat(scores, 1).view(len(activations), -1, steps, ask.scores.shape[1])
    return weighted(activations, of_channels.mean(2))
