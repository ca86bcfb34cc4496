"""Max-sensitivity: how far a map changes, at most, when the image changes a little.

Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*, NeurIPS 2019, arXiv 1901.09392: the
largest |phi(x + d) - phi(x)| / |phi(x)| of noise d that is even within a radius, which is sampled.
(The first version of the authors' code divided by |phi(x)| once more with every sample.) A map that is
the same for every image gets 0: steady isn't right.
"""

import torch

from sightline.errors import MetricError
from sightline.trials import Trial


def max_sensitivity(trial: Trial, *, radius: float = 0.1, samples: int = 10) -> tuple[float] | None:
    """The largest relative change, 0 or more, of the raw map under `samples` draws of noise.

    `radius` is in colours of 0..1; values are not cut off there. None where the map is zero everywhere. Raises
    MetricError for other options.
    """
    if not radius > 0 or samples < 1:
        raise MetricError(
            f"max-sensitivity takes a radius above 0 and 1 sample or more; got radius={radius}, samples={samples}"
        )
    norm = trial.raw.double().norm()
    if not norm > 0:
        return None
    unit = (trial.colour(1, 1, 1) - trial.colour(0, 0, 0)).to(trial.image)
    even = torch.rand(samples, *trial.image.shape, generator=trial.generator()).to(trial.image)
    moved = trial.again(trial.image + radius * unit * (2 * even - 1))
    changes = (moved.double() - trial.raw.double()).flatten(1).norm(dim=1)
    return (float(changes.max() / norm),)
