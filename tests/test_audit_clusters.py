"""Clusters of maps: planted groups are found, and one group is one cluster."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.audit.clusters import CELLS, clustered, distances, jump, linked


def blobs(
    random: np.random.Generator, x: float, y: float, count: int, spread: float = 0.8
) -> list[NDArray[np.floating]]:
    """Maps of one spot near (x, y), in faint noise, each summing to one."""
    down, across = np.mgrid[:CELLS, :CELLS]
    found = []
    for _ in range(count):
        a, b = x + random.normal(0, spread), y + random.normal(0, spread)
        spot = np.exp(-((across - a) ** 2 + (down - b) ** 2) / 8) + 0.05 * random.random((CELLS, CELLS))
        found.append(spot / spot.sum())
    return found


@pytest.mark.parametrize("sizes", [(60, 40), (9, 8), (60, 30, 20), (41, 9), (150, 100)])
def test_planted_groups_are_found_exactly(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(sum(sizes))
    centres = [(4, 4), (12, 12), (4, 12)]
    maps = [each for (x, y), count in zip(centres, sizes, strict=False) for each in blobs(random, x, y, count)]
    truth = np.repeat(np.arange(len(sizes)), sizes)
    order = random.permutation(len(maps))
    found = clustered([maps[place] for place in order])
    assert [len(each) for each in found] == list(sizes)
    for n, places in enumerate(found):
        assert set(truth[order[places]]) == {n}


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [12, 50, 100, 300])
def test_one_group_is_one_cluster(count: int, spread: float) -> None:
    assert len(clustered(blobs(np.random.default_rng(count), 8, 8, count, spread))) == 1


def test_noise_is_one_cluster() -> None:
    random = np.random.default_rng(0)
    assert len(clustered([each / each.sum() for each in random.random((100, CELLS, CELLS))])) == 1


def test_the_nearest_to_the_mean_comes_first() -> None:
    random = np.random.default_rng(3)
    maps = blobs(random, 8, 8, 9)
    (places,) = clustered(maps)
    mean = np.mean(maps, axis=0)
    apart = [((maps[place] - mean) ** 2).sum() for place in places]
    assert apart == sorted(apart)
    assert sorted(places) == list(range(9))


def test_two_groups_of_equal_maps_are_two_clusters() -> None:
    left, right = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    left[:, 0], right[:, -1] = 1 / CELLS, 1 / CELLS
    assert [len(each) for each in clustered([left] * 20 + [right] * 15)] == [20, 15]
    assert len(clustered([left] * 30)) == 1


def test_few_maps_are_one_cluster_and_none_are_none() -> None:
    maps = blobs(np.random.default_rng(0), 4, 4, 4) + blobs(np.random.default_rng(0), 12, 12, 4)
    assert [len(each) for each in clustered(maps)] == [8]
    assert clustered([]) == []


def test_links_go_both_ways_to_the_nearest() -> None:
    flat = np.array([[0.0], [1.0], [2.5], [10.0]])
    assert distances(flat)[0].tolist() == pytest.approx([0, 1, 6.25, 100])
    links = linked(flat)  # two neighbours each
    assert (links > 0.5).astype(int).tolist() == [[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]]
    assert (links == links.T).all()


def test_the_jump_is_after_as_many_eigenvalues_as_there_are_parts() -> None:
    for parts in (1, 2, 3, 5):
        links = np.kron(np.eye(parts), np.ones((6, 6)) - np.eye(6))
        assert jump(links) == parts


def test_the_same_seed_gives_the_same_clusters() -> None:
    random = np.random.default_rng(0)
    maps = blobs(random, 4, 4, 30, 2.0) + blobs(random, 10, 10, 30, 2.0)
    assert clustered(maps, 1) == clustered(maps, 1)
