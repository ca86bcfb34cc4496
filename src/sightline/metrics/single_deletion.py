"""Single deletion: are parts important in the order in which the model misses them?

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248): Spearman's correlation between the
importance of the creature's own parts and the class's logit that is lost without each. With five parts it
knows 120 orders only, and a single trial says little. Parts of equal importance share their mean rank,
which a map that leaves parts empty has often: how many maps have such ties is told beside the figure.
"""

from collections.abc import Sequence

import numpy as np
import torch

from sightline.metrics.correlation import spearman
from sightline.metrics.creature import creature, logits_without, own_parts
from sightline.metrics.part_importance import part_importance
from sightline.trials import Trial, Values


def single_deletion(trial: Trial, *, signed: bool = False) -> tuple[float, float] | None:
    """(correlation + 1) / 2, so 0 to 1 with chance at 0.5; and 1 where parts are tied, else 0.

    `signed` counts what is below zero too, as the authors' code does. None where all parts are equally
    important, as in an empty map, or equally missed, or where the creature has fewer than two.
    """
    parted = creature(trial)
    parts = own_parts(parted)
    if len(parts) < 2:
        return None
    answers = logits_without(trial, [[], *([part] for part in parts)])
    whole, *without = (float(logits[trial.index]) for logits in answers.values())
    lost = torch.tensor([whole - each for each in without], dtype=torch.float64)
    given = part_importance(trial.heat, parted, parts, signed=signed)
    found = spearman(torch.from_numpy(given), lost)
    if found is None:
        return None
    return (found + 1) / 2, float(len(np.unique(given)) < len(given))


def tied_parts(values: Values, labels: Sequence[str]) -> float:
    """The share of maps in which parts are tied."""
    return float(values[:, 1].mean())
