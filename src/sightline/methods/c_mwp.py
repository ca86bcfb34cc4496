"""Contrastive excitation backprop: the probability that a unit wins, less that for the class's opposite.

Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016, arXiv 1608.00507, where
it is the contrastive marginal winning probability (c-MWP). The opposite is the dual unit, whose weights
in the last weighted layer are negated; below that layer the difference of the two passes down as in
excitation backprop. Of the map only what is positive is kept, as in the authors' code. Where the
target weighs classes against each other (`cat-vs:dog`), the others take the dual's place, and a class
against itself is 0 everywhere.
"""

from sightline.methods.excitation_backprop import WINNING
from sightline.types import Maps, Questions


def c_mwp(ask: Questions) -> Maps:
    """relu(sum_c (P_c - P'_c)), with P' propagated from the dual unit."""
    return ask.relevance(WINNING, contrast=True).sum(2).clamp(min=0)
