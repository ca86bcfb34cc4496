"""Label randomisation: whether the map depends on what the labels taught the model.

Adebayo et al., *Sanity Checks for Saliency Maps*, 2018, arXiv 1810.03292, section 3: the map is compared, by rank,
with that of the same net trained on labels in random order, which knows the pictures by heart and
nothing of the classes.
"""

from sightline.metrics.correlation import spearman
from sightline.trials import Trial


def label_randomisation(trial: Trial) -> tuple[float] | None:
    """The rank correlation (-1 to 1) of the raw map with that of the model trained on random labels.

    None where either is constant. Raises MetricError where no such model was given.
    """
    correlation = spearman(trial.raw, trial.relabelled())
    return None if correlation is None else (correlation,)
