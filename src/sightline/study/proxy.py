"""A proxy for people: the map itself makes the choice, for the class on whose object more of it lies.

What it tells is cheap and repeatable, and isn't what people see: see `sightline evaluate` for what else a map can be
judged by. Here it answers the same trials, as one more participant, so that its figures stand beside people's.
"""

from collections import defaultdict
from datetime import UTC, datetime

import numpy as np

from sightline.errors import DataError
from sightline.regions import Heat, Mask
from sightline.runs.kept import Run
from sightline.study.trials import Answer, Kind, Study

BY = ("energy", "peak")


def proxy(run: Run, study: Study, by: str = "energy") -> list[Answer]:
    """The answers to a discrimination study that its run's maps would give.

    By `energy`, for the class whose object holds more of what is above zero; by `peak`, for that whose object has the
    highest pixel. What lies on both objects counts for neither. A map that favours none is left out, as is a trial
    with a class that the data set knows by another name. Raises DataError for another `by`, a trust study, a data
    set that can't be opened or says nothing of where its classes are, and where no map favours a class.
    """
    if by not in BY or study.kind is not Kind.DISCRIMINATION:
        raise DataError(f"the proxy answers discrimination studies by {' or '.join(BY)}; got {study.kind} by {by!r}")
    asked = defaultdict(list)
    for trial in study.trials:
        key = study.key[trial.id]
        asked[key.picture].append((trial, key))
    maps = {(row["picture"], row["method"], row["target"]): row for row in run.rows(pictures={*asked})}
    found, at = [], datetime.now(UTC).isoformat(timespec="milliseconds")
    for place, name in enumerate(run.data.names):
        if name not in asked:
            continue
        sample = run.data[place]
        regions = {
            truth.label: truth.region(sample.picture.size)
            for truth in sample.truths
            if truth.mask is not None or truth.boxes
        }
        for trial, key in asked[name]:
            row = maps.get((name, key.method, trial.options[key.right or 0]))
            if row is None or not {*trial.options} <= regions.keys():
                continue
            answer = _favoured(row.heat, [regions[label] for label in trial.options], by)
            if answer is not None:
                found.append(Answer(f"the map's {by}", trial.id, answer, 0.0, at))
    if not found:
        raise DataError(
            f"no map of {run.folder} favours a class of this study: its run and data set have to be the study's, and "
            "the data set has to say where its classes are"
        )
    return found


def _favoured(heat: Heat, regions: list[Mask], by: str) -> int | None:
    evidence = np.fmax(heat, 0)
    one, two = (evidence[region & ~other] for region, other in (regions, regions[::-1]))
    total = np.sum if by == "energy" else lambda held: np.max(held, initial=0)
    first, second = float(total(one)), float(total(two))
    return None if first == second else int(second > first)
