"""Input x gradient: what each pixel adds to the score, were the score linear in the image.

Shrikumar et al., *Not Just a Black Box: Learning Important Features Through Propagating
Activation Differences*, 2016, arXiv 1605.01713, where it is the method compared against. Summed
over channels; over a net without biases, of ReLUs and maxima, the map sums to the score. A pixel
that normalisation makes 0 gets 0, whatever its gradient.
"""

from sightline.types import Maps, Questions


def input_x_gradient(ask: Questions) -> Maps:
    """sum_c x_c g_c, pixel by pixel, signed."""
    return (ask.image[:, None] * ask.at_image()).sum(2)
