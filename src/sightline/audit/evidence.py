"""Evidence: how much of a row's map lies in each region, beside what an even map would put there.

Only what is above zero is evidence, as in the energy pointing game (Wang et al., arXiv 1910.01279). What the model
could not see of a picture holds none, and is no part of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.audit.found import Region
from sightline.audit.places import Place
from sightline.errors import DataError
from sightline.regions import Heat
from sightline.runs.columns import arrow
from sightline.runs.kept import Run

PREFERRED = ("label", "predicted")

Shares = NDArray[np.float64]  # (height, width)
Share = tuple[float, float]  # evidence, area


def asked_of(run: Run, method: str) -> tuple[str | None, list[str]]:
    """Which of a run's targets is audited, and what is left out: `label` before `predicted`; None for all others."""
    arrow()
    from pyarrow import compute

    table = run.table(["asked", "method", "map_height"])
    mapped = compute.and_(compute.equal(table["method"], method), compute.is_valid(table["map_height"]))
    asked = set(table.filter(mapped)["asked"].unique().to_pylist())
    if not asked:
        raise DataError(f"{run.folder} has no map by {method} yet; let the run go on, or choose another method")
    chosen = next((each for each in PREFERRED if each in asked), None)
    return chosen, sorted(asked - {chosen}) if chosen is not None else []


def as_shares(heat: Heat) -> Shares | None:
    """A map (height, width) as each pixel's share of its positive evidence; None where nothing is above zero."""
    positive = np.nan_to_num(np.fmax(heat, 0), nan=0.0).astype(np.float64)
    total = positive.sum()
    return positive / total if total > 0 else None


def share(shares: Shares | None, seen: NDArray[np.bool_], place: Place | None) -> Share | None:
    """The share of the evidence that lies in a region, and the region's of what was seen.

    Pixels to be ignored count neither way. None where there is no evidence, the region isn't known, or none of it was
    seen.
    """
    if shares is None or place is None:
        return None
    counted = seen if place.ignore is None else seen & ~place.ignore
    inside = place.mask & counted
    total = float(shares[counted].sum())
    if not inside.any() or not total > 0:
        return None
    return min(float(shares[inside].sum()) / total, 1.0), float(inside.sum() / counted.sum())


def misplaced(
    shares: Shares | None, seen: NDArray[np.bool_], places: Mapping[str, Place | None], regions: Sequence[Region]
) -> Share | None:
    """The share of the evidence that lies where it should not, and that place's of what was seen.

    It should not lie in any suspect region, none of which holds all that is known of a picture without them; where
    no region is suspect, not outside the object. None where that isn't known.
    """
    suspects = [places[region.name] for region in regions if region.suspect]
    if shares is None:
        return None
    if suspects:
        known = [place for place in suspects if place is not None]
        if not known:
            return None
        mask = np.logical_or.reduce([place.mask for place in known])
        ignore = np.logical_or.reduce([np.zeros_like(mask), *(p.ignore for p in known if p.ignore is not None)])
        return share(shares, seen, Place(mask, ignore & ~mask)) or (0.0, 0.0)
    inside = share(shares, seen, places.get("object"))
    return None if inside is None else (1 - inside[0], 1 - inside[1])
