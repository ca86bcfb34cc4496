"""Planning: how many participants a study needs to see a difference, by analysing simulated ones."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sightline.study.analysis import analyse
from sightline.study.simulated import People, imagined, simulate
from sightline.study.trials import Kind


@dataclass(frozen=True)
class Power:
    """The share (0 to 1) of simulated studies in which a difference could be claimed.

    Of each method from chance, and of each pair of methods; see `seen` of `analysis.OfMethod` and `analysis.Pair`.
    """

    chance: dict[str, float]
    pairs: dict[tuple[str, str], float]


def power(
    kind: Kind,
    people: People,
    pictures: int = 45,
    studies: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Power:
    """How often a study of such people and so many pictures would see the effect that is there.

    80 % is what is usually asked for. Where methods have one and the same effect it is how often the study would see
    what isn't there. Raises DataError for a study that can't be.
    """
    methods = tuple(people.effect)
    above, apart = Counter[str](), Counter[tuple[str, str]]()
    for nth in range(studies):
        study = imagined(kind, methods, pictures, people.count, seed + nth)
        found = analyse(study, simulate(study, people, seed + nth), seed=nth)
        above.update(each.method for each in found.methods if each.seen)
        apart.update((pair.first, pair.other) for pair in found.pairs if pair.seen)
        if progress is not None:
            progress(nth + 1, studies)
    pairs = [(first, other) for place, first in enumerate(methods) for other in methods[place + 1 :]]
    return Power({each: above[each] / studies for each in methods}, {pair: apart[pair] / studies for pair in pairs})
