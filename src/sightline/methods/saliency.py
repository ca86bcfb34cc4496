"""Saliency: how strongly the score answers to each pixel.

Simonyan, Vedaldi and Zisserman, *Deep Inside Convolutional Networks: Visualising Image
Classification Models and Saliency Maps*, ICLR workshop 2014, arXiv 1312.6034, section 3.1: the
largest absolute derivative over the channels. The pixel is the model's, after normalisation,
which scales the channels' derivatives by their standard deviations.
"""

from sightline.types import Maps, Questions


def saliency(ask: Questions) -> Maps:
    """max_c |g_c|, pixel by pixel."""
    return ask.at_image().abs().amax(2)
