"""Superpixels, and the bridge to captum's methods on them.

Captum draws which superpixels are shown, weighs the samples and fits its linear model; the model is
asked here, about all images and targets at once. For that captum runs twice: first to see what it
draws, then, drawing the same, to be told the scores, less the first and in standard deviations:
so its constants have a scale, and its single precision is enough.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.occlusion import background
from sightline.types import Images, Maps, Questions

Explainer = Callable[[Callable[[Images], Tensor]], Any]
"""What makes one of captum's explainers, given the scores' function."""


def superpixel_weights(
    ask: Questions, explainer: Explainer, generator: torch.Generator, *, segments: int, samples: int, fill: str
) -> Maps:
    """Maps (N, K, H, W) of the weights that captum gives to each image's superpixels, from `samples` versions of it.

    A version shows some of the superpixels, and `fill` in the others (see `occlusion.background`).
    Raises MethodError without captum and scikit-image.
    """
    if segments < 2 or samples < 2:
        raise MethodError(
            f"2 superpixels or more are compared by 2 samples or more, got segments={segments}, samples={samples}; "
            "leave them out for 50 and 500"
        )
    seed = int(torch.randint(2**62, (), generator=generator))
    blank = background(ask.image, fill)
    labels = torch.stack([superpixels(image.cpu(), segments) for image in ask.image])

    def fitted(n: int, captum: Any) -> Tensor:
        """The weight of each superpixel of image n."""
        with drawing(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that don't converge
            weights = captum.attribute(
                ask.image[n : n + 1].cpu(),
                baselines=blank[n : n + 1].cpu(),
                feature_mask=labels[n : n + 1, None],
                n_samples=samples,
                return_input_shape=False,
            )
        return cast(Tensor, weights).flatten()

    def drawn(n: int) -> Tensor:
        """Which superpixels of image n each sample shows (samples, superpixels)."""
        captum, seen = explainer(lambda images: images.new_zeros(len(images))), []

        def noted(shown: Tensor, image: Images, **_: Any) -> Images:
            seen.append(shown)
            return image

        captum.from_interp_rep_transform = noted
        fitted(n, captum)
        return torch.cat(seen).bool()

    def told(n: int, k: int) -> Any:
        """The explainer of a function that knows what the samples score, in order, in standard deviations."""
        known = iter((scores[n, :, k] / spread[n, k]).cpu())
        return explainer(lambda images: next(known)[None])

    shown = [drawn(n) for n in range(len(labels))]
    answers = []
    for part in ask.parts(samples):
        masks = torch.stack([rows[part][:, cells] for rows, cells in zip(shown, labels, strict=True)])
        masks = masks.unsqueeze(2).to(ask.image.device)
        answers.append(ask.of_images(torch.where(masks, ask.image[:, None], blank[:, None])))
    scores = torch.cat(answers, 1)
    scores = scores - scores[:, :1]
    spread = scores.std(1, correction=0)
    spread = spread.where(spread > 0, 1)
    weights = [[fitted(n, told(n, k)) * spread[n, k].cpu() for k in range(scores.shape[2])] for n in range(len(labels))]
    maps = [torch.stack(rows)[:, cells] for rows, cells in zip(weights, labels, strict=True)]
    return torch.stack(maps).to(ask.image.device, torch.promote_types(ask.image.dtype, torch.float32))


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Global random numbers from a seed, and then as if none had been drawn; scikit-learn's fits draw numpy's."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def superpixels(image: Tensor, segments: int) -> Tensor:
    """Labels (H, W) from 0 of about so many superpixels of an image (C, H, W), by scikit-image's SLIC.

    SLIC sees the image from 0 to 1, whatever its normalisation (an even one as 0: 0/0), and blurred by a pixel,
    or noise would keep it from finding any.
    """
    slic = needed("skimage.segmentation").slic
    low, high = image.amin(), image.amax()
    picture = (image.double() - low) / torch.where(high > low, high - low, 1).double()
    grid = slic(picture.movedim(0, -1).cpu().numpy(), n_segments=segments, start_label=0, sigma=1, channel_axis=-1)
    labels = torch.from_numpy(grid)
    if labels.max() < 1:
        raise MethodError(
            f"SLIC finds one superpixel in an image of {image.shape[1]} x {image.shape[2]} pixels, where segments="
            f"{segments} were asked for and 2 are needed; ask for more, or use occlusion"
        )
    return labels


def needed(module: str) -> Any:
    """A module of the extra `superpixels`. Raises MethodError where it isn't installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MethodError(
            f"methods on superpixels need captum and scikit-image, and {module} can't be imported ({error}); "
            "pip install sightline[superpixels]"
        ) from error
