"""Runs: explain a whole data set into one table, on one machine or many, so that it can be stopped and gone on with."""

from sightline.runs.kept import Row, Run
from sightline.runs.run import run

__all__ = ["Row", "Run", "run"]
