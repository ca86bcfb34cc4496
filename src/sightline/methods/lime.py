"""LIME: a sparse linear model of the score in terms of which superpixels are shown.

Ribeiro, Singh and Guestrin, *"Why Should I Trust You?": Explaining the Predictions of Any
Classifier*, KDD 2016, arXiv 1602.04938, as captum has it: superpixels are shown with probability
1/2, a sample counts exp(-d^2 / 2) for its cosine distance d from the image, pixel by pixel, and
the weights are those of a lasso. (The authors' code measures d between the lists of what is shown,
in a narrower kernel, and fits by ridge regression.)
"""

import torch

from sightline.errors import MethodError
from sightline.methods.superpixels import needed, superpixel_weights
from sightline.types import Maps, Questions


def lime(
    ask: Questions,
    *,
    generator: torch.Generator,
    segments: int = 50,
    samples: int = 500,
    penalty: float = 0.01,
    fill: str = "zero",
) -> Maps:
    """At each pixel its superpixel's weight in the linear model, signed.

    The penalty is the lasso's alpha, as a share of the standard deviation of the samples' scores; 0 is least squares.
    """
    if penalty < 0:
        raise MethodError(f"lime takes a penalty of 0 or more, got penalty={penalty}; leave it out for 0.01")
    captum, linear = needed("captum.attr"), needed("captum._utils.models.linear_model")

    def explainer(scores: object) -> object:
        model = linear.SkLearnLasso(alpha=penalty) if penalty > 0 else linear.SkLearnLinearRegression()
        return captum.Lime(scores, interpretable_model=model)

    return superpixel_weights(ask, explainer, generator, segments=segments, samples=samples, fill=fill)
