"""Changes: the same pictures in two runs, one model's before and another's after, paired."""

from collections.abc import Mapping, Sequence

import numpy as np

from sightline.audit.estimates import Draws, Numbers
from sightline.audit.found import Change, Estimate, Look, Region
from sightline.audit.groups import columns, correct, right

EVERYTHING = "all pictures"

Key = tuple[str, str, str]  # a picture's name, its content, and what was asked of it


def paired(before: Sequence[Look], after: Sequence[Look], *, by_target: bool) -> tuple[list[tuple[Look, Look]], int]:
    """The looks at the same pictures, in the later run's order, and how many of both runs' have no other.

    A picture is the same by its name and content; where it was asked about several targets, by the target's name too.
    """
    first = {_key(look, by_target): look for look in before}
    pairs = [(first[_key(look, by_target)], look) for look in after if _key(look, by_target) in first]
    return pairs, len(before) + len(after) - 2 * len(pairs)


def changes(
    pairs: Sequence[tuple[Look, Look]], regions: Sequence[Region], seed: int, *, by_target: bool
) -> tuple[Change, ...]:
    """What changed over all pictures, and for each class: each target, or else each label of pictures with one."""
    named: dict[str, list[tuple[Look, Look]]] = {}
    for pair in pairs:
        names = (pair[1].target,) if by_target else pair[1].labels
        if len(names) == 1:
            named.setdefault(names[0], []).append(pair)
    found = [change(EVERYTHING, pairs, regions, seed, of_class=False)] if pairs else []
    return tuple(found + [change(name, named[name], regions, seed, of_class=by_target) for name in sorted(named)])


def change(
    name: str, pairs: Sequence[tuple[Look, Look]], regions: Sequence[Region], seed: int, *, of_class: bool
) -> Change:
    """Each figure before, after and the difference, over the pictures of which both are known."""
    before, after = [this for this, _ in pairs], [that for _, that in pairs]
    draws = Draws([look.picture for look in after], seed)
    evidence: Mapping[str, tuple[Estimate, Estimate, Estimate]] = {
        region.name: _trio(draws, columns(before, region)[0], columns(after, region)[0]) for region in regions
    }
    of = right if of_class else correct
    return Change(name, draws.count, _trio(draws, of(before), of(after)), evidence)


def _trio(draws: Draws, before: Numbers, after: Numbers) -> tuple[Estimate, Estimate, Estimate]:
    both = ~(np.isnan(before) | np.isnan(after))
    before, after = np.where(both, before, np.nan), np.where(both, after, np.nan)
    first, second, difference = draws.means([before, after, after - before])
    return first, second, difference


def _key(look: Look, by_target: bool) -> Key:
    return look.picture, look.content, look.target if by_target else ""
