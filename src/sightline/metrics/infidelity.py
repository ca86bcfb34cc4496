"""Infidelity: how far what a map says of a perturbation is from what the score loses to it.

Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*, NeurIPS 2019, arXiv 1901.09392:
E[(I . phi - (f(x) - f(x - I)))^2]. As in the authors' code the map is first scaled by the beta that
fits best, E[loss (I . phi)] / E[(I . phi)^2]: its own scale doesn't matter, and neither does its sign.

By "squares" a square is taken away, and I . phi is what the map holds there; they take every square of
side 1 to 10 in MNIST's 28 pixels, here some are drawn from those of side 1 to 10/28 of the image's. By
"noise" each pixel goes a Gaussian share of the way to being taken away. Theirs is added to values, and multiplied
with a gradient for each channel; our maps say how much a pixel counts, all channels together. A linear
model's w * x gets 0 by both.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.blank import blank
from sightline.trials import Trial, Values

PERTURBATIONS = ("squares", "noise")
LARGEST = 10 / 28  # side of a square, of the shorter side
SIGMA = 0.2  # of the noise
AT_ONCE = 32


def infidelity(
    trial: Trial, *, perturbation: str = "squares", samples: int = 200, scaled: bool = True, fill: str = "mean"
) -> tuple[float, float] | None:
    """The mean squared error, 0 or more in squared logits, and its share (0 to 1 if scaled) of the squared losses.

    None where what the map holds of every perturbation, or what the score loses, is zero. Raises
    MetricError for other options.
    """
    if perturbation not in PERTURBATIONS or samples < 1:
        raise MetricError(
            f"infidelity takes perturbations of {' or '.join(PERTURBATIONS)} and 1 sample or more; "
            f"got perturbation={perturbation}, samples={samples}"
        )
    drawn = squares if perturbation == "squares" else noise
    left, values, generator = blank(trial, fill), trial.map.detach().cpu().double(), trial.generator()
    own = trial.scores(trial.image[None]).double().cpu()
    said, lost = [], []
    for first in range(0, samples, AT_ONCE):
        shares = drawn(min(AT_ONCE, samples - first), values.shape, generator)
        moved = trial.image - shares[:, None].to(left) * (trial.image - left)
        said.append((shares * values).sum((1, 2)))
        lost.append(own - trial.scores(moved).double().cpu())
    return error(torch.cat(said), torch.cat(lost), scaled=scaled)


def error(said: Tensor, lost: Tensor, *, scaled: bool) -> tuple[float, float] | None:
    """The mean squared error (n,) of what was said of losses, after the best scaling if `scaled`, and its share."""
    power, losses = (said * said).mean(), (lost * lost).mean()
    if not power > 0 or not losses > 0:
        return None
    beta = (said * lost).mean() / power if scaled else 1
    squared = float((beta * said - lost).square().mean())
    return squared, squared / float(losses)


def unexplained(values: Values, labels: Sequence[str]) -> float:
    """The mean share of the squared losses that the map doesn't explain."""
    return float(values[:, 1].mean())


def squares(count: int, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Masks (count, H, W), 1 in a square: each of those that fit is as likely."""
    height, width = size
    sides = torch.arange(1, max(round(LARGEST * min(height, width)), 1) + 1)
    places = (height - sides + 1) * (width - sides + 1)
    masks = torch.zeros(count, height, width, dtype=torch.float64)
    drawn = torch.multinomial(places.double(), count, replacement=True, generator=generator)
    for mask, at in zip(masks, drawn, strict=True):
        side = int(sides[at])
        top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in (height, width))
        mask[top : top + side, left : left + side] = 1
    return masks


def noise(count: int, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Shares (count, H, W) of the way, from a Gaussian around 0."""
    return SIGMA * torch.randn(count, *size, generator=generator, dtype=torch.float64)
