"""What an image is covered with: by hand, and RISE's blur against its kernel in loops."""

import numpy as np
import pytest
import torch
from linear import noise
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.blank import blank, blurred


class Coloured(Toy):
    """Normalised by the means 0.1, 0.2, 0.3 and the spread 0.5."""

    def colour(self, red: float, green: float, blue: float) -> torch.Tensor:
        return (torch.tensor([red - 0.1, green - 0.2, blue - 0.3]) / 0.5).view(3, 1, 1)


def test_mean_and_black() -> None:
    trial = Coloured(torch.ones(2, 2), image=noise(0, 3, 4, 5))
    assert torch.equal(blank(trial, "mean"), torch.zeros(3, 4, 5))
    assert_close(blank(trial, "black"), torch.tensor([-0.2, -0.4, -0.6]).view(3, 1, 1).expand(3, 4, 5))


def test_blur_equals_the_kernel_in_loops() -> None:
    """Their kernel: a point of 11 x 11 pixels through scipy's Gaussian, which mirrors at the borders."""
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5)
    assert kernel.sum() == pytest.approx(1)
    image = noise(0, 2, 9, 14)
    expected = torch.zeros_like(image)
    for y in range(9):
        for x in range(14):
            for v in range(max(y - 5, 0), min(y + 6, 9)):
                for u in range(max(x - 5, 0), min(x + 6, 14)):
                    expected[:, y, x] += image[:, v, u] * kernel[v - y + 5, u - x + 5]
    assert_close(blank(Toy(torch.ones(1, 1), image=image), "blur"), expected, rtol=1e-5, atol=1e-6)


def test_blur_keeps_an_even_image_but_for_its_border() -> None:
    image = blurred(torch.ones(1, 20, 20))
    assert_close(image[:, 5:-5, 5:-5], torch.ones(1, 10, 10))
    assert 0.25 < image[0, 0, 0] < 0.35
    assert image[0, 0, 10] == pytest.approx(float(image[0, 0, 0]) ** 0.5)


def test_refuses_another_fill() -> None:
    with pytest.raises(MetricError, match="covered with mean, black, blur, not 'pink'"):
        blank(Toy(torch.ones(2, 2)), "pink")
