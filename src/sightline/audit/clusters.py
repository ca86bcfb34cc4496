"""Clusters of a class's maps: the different ways in which a model comes to the same answer.

Spectral relevance analysis (Lapuschkin et al., *Unmasking Clever Hans predictors*, Nature Communications 2019, arXiv
1902.10178): maps brought to one small size, linked to their nearest neighbours; as many clusters as the spectrum of
the graph's Laplacian says, before its eigenvalues jump; spectral clustering. Ours are: each map as a share of its own
evidence, CELLS x CELLS cells, as many neighbours as the root of the number of maps, a faint link of all with all,
without which clusters that share no link at all could not be told from each other's halves, and that a jump counts
only from below 1 / JUMP of the eigenvalue after it, so that one cluster is an answer too.
"""

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

CELLS = 16  # of a side
FEWEST = 10  # maps, below which they are one cluster
CLUSTERS = 8  # at most
JUMP = 4
FAINT = 1e-6  # of a link

Numbers = NDArray[np.float64]


def clustered(maps: Sequence[NDArray[np.floating]], seed: int = 0) -> list[list[int]]:
    """Clusters of maps (side, side) that each sum to one: their places, the nearest to the cluster's mean first.

    The largest cluster comes first, of equals the one with the first map; fewer than FEWEST maps are one. The same
    seed gives the same clusters.
    """
    if not len(maps):
        return []
    flat = np.stack([each.ravel() for each in maps]).astype(np.float64)
    labels = np.zeros(len(flat), dtype=np.intp)
    if len(flat) >= FEWEST:
        links = linked(flat)
        count = jump(links)
        if count > 1:
            from sklearn.cluster import SpectralClustering

            rule = SpectralClustering(count, affinity="precomputed", assign_labels="cluster_qr", random_state=seed)
            labels = rule.fit_predict(links)
    found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [_nearest(flat, places) for places in sorted(found, key=lambda each: (-len(each), each[0]))]


def linked(flat: Numbers) -> Numbers:
    """Affinities (n, n) of maps (n, cells): 1 where one is among the other's nearest, and faint ones elsewhere."""
    count = len(flat)
    apart = distances(flat)
    np.fill_diagonal(apart, -1)  # nearest to itself, also where others are the same
    nearest = np.argsort(apart, axis=1, kind="stable")[:, 1 : isqrt(count) + 1]
    links = np.full((count, count), FAINT)
    links[np.arange(count)[:, None], nearest] = 1
    links = np.maximum(links, links.T)
    np.fill_diagonal(links, 0)
    return np.asarray(links)


def jump(links: Numbers) -> int:
    """After how many eigenvalues of the graph's normalised Laplacian the greatest gap comes, 1 to CLUSTERS."""
    root = np.sqrt(links.sum(1))
    values = np.linalg.eigvalsh(np.eye(len(links)) - links / root[:, None] / root)[: CLUSTERS + 1].clip(0)
    gaps = np.where(JUMP * values[:-1] <= values[1:], np.diff(values), -np.inf)
    gaps[0] = values[1]  # all are one cluster, at the least
    return int(gaps.argmax()) + 1


def distances(flat: Numbers) -> Numbers:
    """Squared distances (n, n)."""
    squares = (flat**2).sum(1)
    return np.asarray((squares[:, None] + squares - 2 * flat @ flat.T).clip(0))


def _nearest(flat: Numbers, places: NDArray[np.intp]) -> list[int]:
    own = flat[places]
    order = ((own - own.mean(0)) ** 2).sum(1).argsort(kind="stable")
    return [int(place) for place in places[order]]
