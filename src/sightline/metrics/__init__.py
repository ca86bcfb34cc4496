"""The table of metrics. A metric's rule is one function of one trial, in a file of its own."""

from sightline.trials import Metric

METRICS: tuple[Metric, ...] = (
    # where the object is
    # whether the model relies on what is marked
    # whether the map depends on what it explains
    # how the map is made up
    # on generated pictures with removable parts
)  # fmt: skip
