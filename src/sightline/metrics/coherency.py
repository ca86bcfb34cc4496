"""Coherency: whether what a map shows, shown alone, is explained by the same map.

Poppi et al., *Revisiting the Evaluation of Class Activation Mapping for Explainability*, 2021, arXiv
2104.10252: the linear correlation of the map with that of the image times the map. It is the
normalised image that is multiplied, as the authors do: what isn't shown is of the mean colour.
Theirs are maps of positive parts; of others, positive parts are shown and compared. Where the second
map is constant they count 0, here the trial can't be judged.
"""

from sightline.metrics.correlation import pearson
from sightline.metrics.evidence import evidence
from sightline.trials import Trial, in_image


def coherency(trial: Trial) -> tuple[float] | None:
    """(1 + r) / 2 of the correlation r of both maps' positive parts in the image, 0 to 1; None where either is even."""
    lit = evidence(trial.map)
    if lit is None:
        return None
    shown = trial.image * lit.to(trial.image)
    again = in_image(trial.again(shown[None]), lit.shape)[0]
    correlation = pearson(lit, again.clamp(min=0))
    return None if correlation is None else ((1 + correlation) / 2,)
