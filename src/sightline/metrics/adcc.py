"""ADCC: the harmonic mean of the confidence that is kept, coherency, and the absence of complexity.

Poppi et al., *Revisiting the Evaluation of Class Activation Mapping for Explainability*, 2021, arXiv
2104.10252. (The authors' code gives 3 times the sum of reciprocals, which is no harmonic mean; here it is
the paper's.) What is kept is 1 less the average drop, of the normalised image times the map.
"""

from sightline.metrics.average_drop import average_drop
from sightline.metrics.coherency import coherency
from sightline.metrics.complexity import complexity
from sightline.trials import Trial


def adcc(trial: Trial) -> tuple[float] | None:
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)), 0 to 1, 0 where a part is.

    None where one of them can't be told.
    """
    coherent, lit, dropped = coherency(trial), complexity(trial), average_drop(trial)
    if coherent is None or lit is None or dropped is None:
        return None
    parts = (coherent[0], 1 - lit[0], 1 - dropped[0])
    return (3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0,)
