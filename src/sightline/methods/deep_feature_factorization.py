"""Deep feature factorisation: the parts that a layer finds in a picture, and those of them that speak for the score.

Collins et al., *Deep Feature Factorization For Concept Discovery*, ECCV 2018, arXiv 1806.10206: the
positive activations as a product of non-negative matrices, cells x concepts and concepts x
channels. The paper stops there, and has no class: that is `concepts`. The map of a score is our own
choice: each concept counts as Grad-CAM would count its channels, and one that speaks against the
score counts nothing. The paper factorises pictures together or alone; here each is alone.
"""

import warnings

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.types import Activations, Gradients, Maps


def concepts(activations: Activations, count: int) -> tuple[Maps, Tensor]:
    """Maps (..., count, h, w) and directions (..., count, C), both non-negative: relu(A) ~ sum_j d_j M_j.

    Directions have length 1, and the strongest concepts come first. A concept beyond what the grid
    or the channels have room for, or that isn't there (of a dead layer, say), is 0 in both.
    """
    if count < 1:
        raise MethodError(f"at least 1 concept is looked for, got {count}; 4 is the default")
    channels, height, width = activations.shape[-3:]
    cells = activations.relu().flatten(-2).transpose(-1, -2).double().cpu().reshape(-1, height * width, channels)
    found = [_factorised(each, count) for each in cells]
    maps = torch.stack([each for each, _ in found]).mT
    directions = torch.stack([each for _, each in found])
    leading = activations.shape[:-3]
    return (
        maps.reshape(*leading, count, height, width).to(activations),
        directions.view(*leading, count, channels).to(activations),
    )


_concepts = concepts  # below, an option has the name


def deep_feature_factorization(activations: Activations, gradients: Gradients, *, concepts: int = 4) -> Maps:
    """sum_j relu(d_j . mean_xy g) M_j over the concepts' maps M_j and directions d_j."""
    maps, directions = _concepts(activations, concepts)
    weights = torch.einsum("...jc,...c->...j", directions, gradients.mean((-2, -1))).relu()
    return torch.einsum("...j,...jhw->...hw", weights, maps)


def _factorised(cells: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cells (n, C) -> how much of each concept they have (n, count), and the concepts (count, C)."""
    from sklearn.decomposition import NMF  # slow to import, so where it is needed
    from sklearn.exceptions import ConvergenceWarning

    amounts, directions = cells.new_zeros(len(cells), count), cells.new_zeros(count, cells.shape[1])
    top = cells.max()
    if top == 0:
        return amounts, directions
    room = min(count, *cells.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step's factors are as good as they get
        model = NMF(room, init="nndsvda", random_state=0, max_iter=500)
        amounts[:, :room] = torch.from_numpy(model.fit_transform((cells / top).cpu().numpy()))
    directions[:room] = torch.from_numpy(model.components_)
    return _ordered(amounts * top, directions)


def _ordered(amounts: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Directions of length 1, those first whose concepts are strongest."""
    lengths = directions.norm(dim=1)
    amounts = amounts * lengths
    directions = directions / torch.where(lengths > 0, lengths, 1)[:, None]
    order = amounts.norm(dim=0).argsort(descending=True, stable=True)
    there = (amounts.norm(dim=0) > 0)[order]
    return amounts[:, order], directions[order] * there[:, None]
