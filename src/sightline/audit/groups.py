"""Groups: some looks put together into shares, accuracy, average maps and examples."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sightline.audit.estimates import FEWEST, Draws, Numbers, estimate
from sightline.audit.found import Estimate, Example, Gap, Group, Look, Region, Share
from sightline.errors import DataError

MOST = 12  # subgroups
UNTOLD = "unknown"  # the subgroup of the pictures of which the column says nothing


def group(
    name: str,
    looks: Sequence[Look],
    regions: Sequence[Region],
    maps: tuple[Tensor | None, Tensor | None],
    examples: Sequence[Look],
    seed: int,
    *,
    of_class: bool = True,
) -> Group:
    """Some looks as one; `maps` are their average map in the picture's frame and in the object's.

    Its accuracy is that of one class, or else of the pictures, whatever their classes.
    """
    draws = Draws([look.picture for look in looks], seed)
    parts = [part for region in regions for part in _parts(looks, region)]
    accuracy, *found = draws.ratios([_mean(right(looks) if of_class else correct(looks)), *parts])
    shares = tuple(
        Share(region, found[2 * n], _area(looks, region), found[2 * n + 1]) for n, region in enumerate(regions)
    )
    return Group(name, draws.count, accuracy, shares, *maps, tuple(map(example, examples)))


def misplaced(looks: Sequence[Look], seed: int) -> Estimate:
    """The mean share of the evidence that lies where it should not."""
    column = np.array([np.nan if look.misplaced is None else look.misplaced[0] for look in looks])
    return Draws([look.picture for look in looks], seed).means([column])[0]


def gap(groups: Sequence[tuple[str, Sequence[Look]]], regions: Sequence[Region], seed: int) -> Gap | None:
    """The greatest difference of a lift between two subgroups, of the suspect regions where there are any.

    The pictures of each subgroup are drawn by themselves, so that none is ever drawn away.
    """
    judged = [each for each in regions if each.suspect] or list(regions)
    found: list[tuple[Region, str, str, Numbers, int]] = []
    of = 0
    for region in judged:
        lifts = {}
        for n, (name, looks) in enumerate(groups):
            both = columns(looks, region)
            draws = Draws([look.picture for look in looks], [seed, n])
            if (count := draws.pictures(~np.isnan(both[0]))) >= FEWEST:
                lifts[name] = draws.quotients([both])[0], count
        of += len(lifts) * (len(lifts) - 1) // 2
        if len(lifts) > 1:
            more, less = (best(lifts, key=lambda name: lifts[name][0][0]) for best in (max, min))
            (high, many), (low, few) = lifts[more], lifts[less]
            found.append((region, more, less, high - low, min(many, few)))
    if not found:
        return None
    region, more, less, values, count = max(found, key=lambda each: each[3][0])
    return Gap(region, more, less, estimate(values, count, of), of)


def columns(looks: Sequence[Look], region: Region) -> tuple[Numbers, Numbers]:
    """The evidence in a region and its area, (looks,) each; NaN where there is none."""
    pairs = [look.shares[region.name] or (np.nan, np.nan) for look in looks]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def right(looks: Sequence[Look]) -> Numbers:
    """1 for a look whose class was found in its picture, 0 where it wasn't, NaN where nobody knows."""
    return np.array([np.nan if look.right is None else float(look.right) for look in looks])


def correct(looks: Sequence[Look]) -> Numbers:
    """1 for a picture that was predicted right, 0 wrong; NaN where nobody knows, and for a picture's other looks."""
    first = {look.picture: place for place, look in reversed(list(enumerate(looks)))}
    return np.array(
        [
            float(look.correct) if look.correct is not None and first[look.picture] == place else np.nan
            for place, look in enumerate(looks)
        ]
    )


def titled(by: str, value: str) -> str:
    """A subgroup's name."""
    return f"{by}={value}"


def told(look: Look, by: str) -> str:
    """The subgroup of a look."""
    return look.about.get(by) or UNTOLD


def values(looks: Sequence[Look], by: str) -> list[str]:
    """The values of a column, sorted. Raises DataError where no picture has it, or there are more than MOST."""
    found = sorted({told(look, by) for look in looks})
    if not any(by in look.about for look in looks):
        named = ", ".join(sorted({name for look in looks for name in look.about})) or "nothing"
        raise DataError(f"no picture has a {by!r}; of the pictures is said: {named}")
    if len(found) > MOST:
        listed = ", ".join(found[:4])
        raise DataError(
            f"{by!r} has {len(found)} values ({listed}, ...), which makes too small subgroups; expected {MOST} at most"
        )
    return found


def most_misplaced(looks: Sequence[Look], top: int) -> list[Look]:
    """The looks with most evidence where it should not lie; where that isn't known, the surest ones."""

    def order(look: Look) -> tuple[float, float]:
        return (-1.0 if look.misplaced is None else look.misplaced[0]), look.probability or 0.0

    return sorted(looks, key=order, reverse=True)[:top]


def example(look: Look) -> Example:
    """A look as an example of its group."""
    return Example(
        picture=look.picture,
        index=look.index,
        target=look.target,
        predicted=look.predicted,
        right=look.right,
        probability=look.probability,
        shares={name: None if pair is None else pair[0] for name, pair in look.shares.items()},
    )


def _parts(looks: Sequence[Look], region: Region) -> list[tuple[Numbers, Numbers]]:
    evidence, area = columns(looks, region)
    return [_mean(evidence), (evidence, area)]


def _mean(column: Numbers) -> tuple[Numbers, Numbers]:
    return column, np.ones_like(column)


def _area(looks: Sequence[Look], region: Region) -> float | None:
    area = columns(looks, region)[1]
    return float(np.nanmean(area)) if not np.isnan(area).all() else None
