"""Sparseness: how unequally a map shares its values among the pixels.

Chalasani et al., *Concise Explanations of Neural Networks using Adversarial Training*, 2018, arXiv
1810.06583: the Gini index of absolute values.
"""

import numpy as np

from sightline.trials import Trial


def sparseness(trial: Trial) -> tuple[float] | None:
    """The Gini index of the map's absolute values in the image: 0 if all are equal, 1 - 1/n if one of n holds all.

    None where the map is zero everywhere.
    """
    values = np.sort(trial.map.detach().cpu().double().abs().flatten().numpy())
    total, n = values.sum(), len(values)
    if not total > 0:
        return None
    return (float((2 * np.arange(1, n + 1) - n - 1) @ values / (n * total)),)
