"""What is seen where an image is taken away, each by its name.

The blur is that of RISE's code (Petsiuk, Das and Saenko, 2018, arXiv 1806.07421): 11 x 11 pixels with
a sigma of 5 whose tails are folded back into the kernel, nothing outside the image.
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn.functional import conv2d

from sightline.errors import MetricError
from sightline.trials import Trial

FILLS = ("mean", "black", "blur")
SIDE, SIGMA = 11, 5  # of the blur, in the image's pixels


def blank(trial: Trial, fill: str) -> Tensor:
    """The image (C, H, W) that is left: "mean" is 0, the mean colour of the preprocessing; "black"; "blur" its own.

    Raises MetricError for another fill.
    """
    if fill not in FILLS:
        raise MetricError(f"an image is covered with {', '.join(FILLS)}, not {fill!r}")
    if fill == "mean":
        return torch.zeros_like(trial.image)
    if fill == "black":
        return trial.colour(0, 0, 0).to(trial.image).expand_as(trial.image)
    return blurred(trial.image)


def blurred(image: Tensor) -> Tensor:
    """The image (C, H, W) through the kernel."""
    line = torch.from_numpy(gaussian_filter1d(np.eye(SIDE)[SIDE // 2], SIGMA)).to(image)
    return conv2d(image[:, None], torch.outer(line, line)[None, None], padding=SIDE // 2)[:, 0]
