"""Evaluate: data set x methods x metrics -> table, picture by picture, with controls beside the methods."""

from sightline.evaluation.run import DEFAULT_METRICS, evaluate
from sightline.evaluation.table import Evaluation, Figure, Row

__all__ = ["DEFAULT_METRICS", "Evaluation", "Figure", "Row", "evaluate"]
