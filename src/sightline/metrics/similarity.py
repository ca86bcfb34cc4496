"""SSIM: how alike two maps look, window by window.

Wang et al., *Image Quality Assessment: From Error Visibility to Structural Similarity*, 2004,
doi 10.1109/TIP.2003.819861: Gaussian windows of 11 pixels and sigma 1.5, those that fit.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.correlation import Numbers

RADIUS, SIGMA = 5, 1.5


def ssim(a: Tensor, b: Tensor, *, span: float) -> float:
    """The mean structural similarity (-1 to 1) of two maps (H, W) whose values span `span`.

    Raises MetricError where no window fits.
    """
    if min(a.shape) <= 2 * RADIUS:
        raise MetricError(f"SSIM takes {2 * RADIUS + 1} pixels or more a side, got {tuple(a.shape)}; use spearman")
    x, y = (each.detach().cpu().double().numpy() for each in (a, b))

    def local(values: Numbers) -> Numbers:
        """The windows' means."""
        return np.asarray(gaussian_filter(values, SIGMA, radius=RADIUS)[RADIUS:-RADIUS, RADIUS:-RADIUS])

    x_mean, y_mean = local(x), local(y)
    x_spread, y_spread, shared = local(x * x) - x_mean**2, local(y * y) - y_mean**2, local(x * y) - x_mean * y_mean
    light, texture = (0.01 * span) ** 2, (0.03 * span) ** 2
    alike = (2 * x_mean * y_mean + light) / (x_mean**2 + y_mean**2 + light)
    return float((alike * (2 * shared + texture) / (x_spread + y_spread + texture)).mean())
