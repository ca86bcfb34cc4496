"""Guided backpropagation: the gradient, of which every ReLU passes on only what is positive.

Springenberg et al., *Striving for Simplicity: The All Convolutional Net*, ICLR workshop 2015,
arXiv 1412.6806: a ReLU passes a gradient back where its input was positive and the
gradient is. Defined on nets whose activations are ReLUs, and refused on any other. The map is the
largest absolute value over channels, as in saliency, where the paper shows the image-sized
gradient itself. It shows what the net sees and hardly which class: Grad-CAM's paper measures that,
and *Sanity Checks for Saliency Maps* (arXiv 1810.03292) finds it insensitive to the upper layers'
weights.
"""

from sightline.types import Maps, Questions, Relu


def guided_backprop(ask: Questions) -> Maps:
    """max_c |g_c|, pixel by pixel, with g propagated by the guided rule."""
    return ask.at_image(relu=Relu.GUIDED).abs().amax(2)
