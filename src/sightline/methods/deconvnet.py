"""Deconvnet: the score run back through the net, with a ReLU at every ReLU instead of its gradient.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv
1311.2901, section 2.1: max pooling is undone at the places of the maxima and convolution by its
transpose, both of which a gradient does too (Simonyan et al., arXiv 1312.6034, section 4); what
differs is that a ReLU cuts what comes back where that is negative, whatever its input was. Batch
norm is passed back by its gradient. Defined on nets whose activations are ReLUs, and refused on
any other. The map is the largest absolute value over channels, as in saliency.
"""

from sightline.types import Maps, Questions, Relu


def deconvnet(ask: Questions) -> Maps:
    """max_c |g_c|, pixel by pixel, with g propagated by the deconvnet's rule."""
    return ask.at_image(relu=Relu.DECONV).abs().amax(2)
