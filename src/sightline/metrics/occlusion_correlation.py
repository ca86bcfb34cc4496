"""Occlusion correlation: whether a map ranks the image's places as covering them does.

Selvaraju et al., *Grad-CAM*, IJCV 2020, arXiv 1610.02391: the mean rank correlation with occlusion maps.
What their windows were, and where ranks were taken, isn't told; here these are options, and belong to the
figure.

An occlusion map knows nothing finer than its stride: where the window is a multiple of it, the pixels of a
square of one stride are all the same. Both maps are averaged over such squares, or else a finer map is
charged for detail that nobody measured; places=pixels does that, and guided backprop falls most. The
paper's Grad-CAM is of positive parts, so positive parts are compared; maps with a sign may be taken as they are.
"""

import torch
from torch.nn.functional import avg_pool2d

from sightline.errors import MetricError
from sightline.metrics.correlation import spearman
from sightline.trials import Trial, in_image

PLACES = ("stride", "pixels")


def occlusion_correlation(
    trial: Trial,
    *,
    window: int = 32,
    stride: int = 16,
    fill: str = "zero",
    places: str = "stride",
    signed: bool = False,
) -> tuple[float] | None:
    """The rank correlation (-1 to 1) with the map of the method `occlusion` by this `window`, `stride` and `fill`.

    Ranks are of squares of the stride's side, or of the image's pixels, and of positive parts unless `signed`.
    None where either map is constant there. Raises MetricError for other places, MethodError for what the method
    refuses.
    """
    if places not in PLACES:
        raise MetricError(f"occlusion-correlation ranks places of {' or '.join(PLACES)}, not {places!r}")
    size = trial.image.shape[1:]
    occluded = trial.by(f"occlusion:window={window}:stride={stride}:fill={fill}")
    maps = torch.stack([trial.map.float(), in_image(occluded, size).to(trial.map.device)])
    if not signed:
        maps = maps.clamp(min=0)
    if places == "stride":
        maps = avg_pool2d(maps, stride, ceil_mode=True)  # those cut by the border are means of what is there
    correlation = spearman(maps[0], maps[1])
    return None if correlation is None else (correlation,)
