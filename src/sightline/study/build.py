"""A study from a run: trials are planned, drawn, and written down with their key."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from sightline.errors import DataError, PictureError, first_line
from sightline.runs.kept import Row, Run
from sightline.study import discrimination, trust
from sightline.study.answers import read
from sightline.study.plan import CLASSES, Asked, chosen, names, orders
from sightline.study.shown import encoded, shown
from sightline.study.trials import KEY, PICTURES, PUBLIC, Kind, Study, Trial

RATERS = 9  # for each trial, in the paper


def build(
    run: Run,
    folder: str | Path,
    *,
    kind: Kind | str,
    methods: Sequence[str] | None = None,
    count: int | None = None,
    participants: int | None = None,
    other: Run | None = None,
    better: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """A study of a run's maps, in `folder`, made if need be: `count` pictures (by default up to 45), by all `methods`.

    `discrimination` takes pictures of which the data set knows exactly two classes, from a run with the target
    `label`; `trust` takes an `other` run of the same pictures and methods by another model, of which the one at
    place `better` (0 or 1) is known to be the better one: by default the one that is right more often in the runs.
    There is an order of trials for each of so many `participants`, rounded up so that each trial is shown equally
    often; by default so many that each is answered by nine. The same seed gives the same study, bit for bit.
    Raises DataError where the folder holds a study, or the runs can't give one.
    """
    folder = Path(folder)
    _check_new(folder)
    kind = _kind(kind)
    random = Random(seed)
    runs, by = _runs(kind, run, other, methods)
    facts = _facts(runs, by, seed)
    if kind is Kind.DISCRIMINATION:
        planned, question = discrimination.plan(run, by, count, random), discrimination.QUESTION
    else:
        best, told = _better(runs, better)
        facts |= told
        planned, question = trust.plan(runs[0], runs[1], by, count, best, random), trust.QUESTION
    turns = len(planned[0])
    participants = RATERS * turns if participants is None else participants
    if participants < 1:
        raise DataError(f"a study for {participants} participants was asked for; expected 1 or more")

    flat = [each for mine in planned for each in mine]
    rows = _rows(runs, [asked for each in flat for asked in each.maps])
    ids = names(len(flat), random)
    files = {asked: f"{PICTURES}/{name}.jpg" for asked, name in zip(rows, names(len(rows), random), strict=True)}
    trials, key = [], {}
    for name, each in sorted(zip(ids, flat, strict=True), key=lambda pair: pair[0]):
        trials.append(Trial(name, tuple(files[asked] for asked in each.maps), each.options, each.about))
        key[name] = each.key
    mine = [ids[start : start + turns] for start in range(0, len(ids), turns)]
    facts |= {
        "pictures": len(planned),
        "items": len({each.item for each in key.values()}),
        "empty": dict(Counter(asked.method for asked, row in rows.items() if not row.map.any())),
    }
    study = Study(kind, question, tuple(trials), orders(mine, participants, random), key, facts)
    _draw(runs, rows, files, folder, progress)
    study.save(folder)
    return study


def _check_new(folder: Path) -> None:
    """Raise DataError where the folder holds a study already: another's answers would be lost or misread."""
    if (folder / PUBLIC).exists() or (folder / KEY).exists():
        answers = len(read(folder))
        raise DataError(f"{folder} holds a study already, with {answers} answers; choose another folder")


def _kind(kind: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        raise DataError(f"no kind of study {str(kind)!r}; choose {' or '.join(Kind)}") from None


def _runs(kind: Kind, run: Run, other: Run | None, methods: Sequence[str] | None) -> tuple[list[Run], tuple[str, ...]]:
    """The runs that the study is of, and the methods; by default those that all of them have."""
    if kind is Kind.DISCRIMINATION:
        if other is not None:
            raise DataError(f"a discrimination study is of one run; leave out {other.folder}, or ask for trust")
        return [run], chosen(run, methods)
    if other is None:
        raise DataError("a trust study compares two models: give the runs of both, over the same pictures")
    if methods is None:
        methods = [name for name in run.methods if name in other.methods]
    return [run, other], chosen(other, chosen(run, methods))


def _better(runs: Sequence[Run], better: int | None) -> tuple[int, dict[str, Any]]:
    """The place of the better run, as given or by accuracy, and what the analysis should say of that."""
    if better not in (None, 0, 1):
        raise DataError(f"better {better!r}; expected 0 for the first run or 1 for the second")
    shares = trust.accuracies(*runs)
    if better is None and shares[0] == shares[1]:
        raise DataError(
            f"both models are right about {shares[0]:.1%} of the pictures in the runs; say which is known to be the "
            "better one: --better first or second"
        )
    best = int(shares[1] > shares[0]) if better is None else better
    by = "as given" if better is not None else "by accuracy in the runs"
    return best, {"better": runs[best].question["model"], "better_by": by, "accuracies": list(shares)}


def _facts(runs: Sequence[Run], methods: Sequence[str], seed: int) -> dict[str, Any]:
    asked = [run.question for run in runs]
    return {
        "models": [each["model"] for each in asked],
        "weights": [each["weights"] for each in asked],
        "data": asked[0]["data"],
        "layers": [each["layer"] for each in asked],
        "runs": [each["question"] for each in asked],
        "methods": list(methods),
        "seed": seed,
    }


def _rows(runs: Sequence[Run], wanted: Sequence[Asked]) -> dict[Asked, Row]:
    """The rows of all maps that are wanted, in that order."""
    missing = set(wanted)
    pictures = {asked.picture for asked in missing}
    rows = {}
    for place, run in enumerate(runs):
        for row in run.rows(pictures=pictures):
            asked = Asked(place, row["picture"], row["index"], row["method"])
            if row["asked"] in CLASSES and asked in missing:
                rows[asked] = row
                missing.remove(asked)
    return {asked: rows[asked] for asked in dict.fromkeys(wanted)}


def _draw(
    runs: Sequence[Run],
    rows: Mapping[Asked, Row],
    files: Mapping[Asked, str],
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the pictures; each of the data set's is read once."""
    done = 0
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for _, alike in groupby(rows, key=lambda asked: asked.picture):
            asked = list(alike)
            picture = _picture(runs[0], rows[asked[0]])
            for each in asked:
                drawn = shown(picture, rows[each], runs[each.run].question)
                (folder / files[each]).write_bytes(encoded(drawn))
                done += 1
                if progress:
                    progress(done, len(rows))
    except OSError as error:
        raise DataError(f"{folder} can't be written to ({first_line(error)}); choose another folder") from error


def _picture(run: Run, row: Row) -> Image.Image:
    """The picture of a row, from the data set. Raises DataError where it isn't what it was in the run."""
    try:
        sample = run.data[row["place"]]
    except (PictureError, IndexError) as error:
        raise DataError(f"{row['picture']} was in the run, and can't be read now ({first_line(error)})") from error
    if (sample.name, sample.picture.size) != (row["picture"], row.size):
        there = f"{sample.name}, {sample.picture.width} x {sample.picture.height}"
        raise DataError(
            f"{row['picture']}, {row.size[0]} x {row.size[1]}, isn't in its place in {run.question['data']} any more, "
            f"but {there}; run again over what is there now"
        )
    return sample.picture
