"""The audit itself: a run's rows are looked at one after another, and put together class by class."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sightline.audit.averages import Averages
from sightline.audit.changes import changes, paired
from sightline.audit.clusters import CELLS, clustered
from sightline.audit.evidence import asked_of
from sightline.audit.found import SIDE, Audit, Change, ClassAudit, Group, Hidden, Look
from sightline.audit.groups import gap, group, misplaced, most_misplaced, titled, told, values
from sightline.audit.hiding import Hider, Hiding, hidden
from sightline.audit.places import Marks, Places
from sightline.audit.seen import ALL, RIGHT, WRONG, Class, Seen, class_of
from sightline.audit.verdicts import Case, verdicts
from sightline.errors import DataError
from sightline.model import Model
from sightline.runs.columns import arrow
from sightline.runs.kept import Row, Run
from sightline.types import Method

Told = Callable[[int, int], None]
"""Called with how many of how many rows are done."""


def audit(
    run: Run | str | Path,
    *,
    regions: Mapping[str, Marks] = {},
    suspects: Mapping[str, Marks] = {},
    by: str | None = None,
    method: str | Method | None = None,
    before: Run | str | Path | None = None,
    model: Model | None = None,
    clusters: bool = True,
    seed: int = 0,
    top: int = 4,
    progress: Told | None = None,
) -> Audit:
    """Where does a model look, over all pictures of a run, class by class, and does it look where it should?

    `run` and `before` may be their folders. `regions` are places by name, each a data set that marks them in pictures
    of the same names, what `open_data` opens as one, or masks by the pictures' names; in the `suspects` no evidence
    should lie. `object` is where the target is, by the run's own data set, unless it is given here. Rows asked for
    the pictures' labels are audited, or where there are none those asked for what was predicted, or else all; of the
    run's methods `method`, or else the first. `by` is a column of what the data set says of its pictures, which makes
    subgroups. `before` is another model's run over the same pictures,
    to be compared with. Where the `model` of the run is given, each region is hidden in each picture, to see whether
    it tells (see `sightline.audit.hiding`). `clusters` groups the maps of each class by likeness. Of each group there
    are `top` examples. The same `seed` gives the same figures.

    What can't be used is left out and named in `problems`. Raises DataError where nothing is left, for a region named
    twice, for a method or a column that the run doesn't have, for a column of too many values, for another model
    than the run's, and for a seed or top below 0.
    """
    for name, number in (("seed", seed), ("top", top)):
        if number < 0:
            raise DataError(f"{name}={number} is below 0; expected 0 or more")
    run, before = _run(run), None if before is None else _run(before)
    chosen = _method(run, method)
    asked, others = asked_of(run, chosen)
    problems = [f"rows asked for {', '.join(others)}: those asked for {asked} are audited"] if others else []
    places = Places(run, regions, suspects)
    seen = Seen(places.regions, by, seed)
    hider = None if model is None else Hider(run, model, seed)
    _look(seen, run, chosen, asked, places, hider, progress)
    problems += _unfinished(run) + _problems(run, seen, places)
    audited = _Audited(seen, seed, top, () if by is None else tuple(values(seen.looks, by)))
    classes = audited.classes([] if hider is None else hider.done(), clusters=clusters)
    found: tuple[Change, ...] = ()
    if before is not None:
        found, told = _changes(before, seen, chosen, asked, places, seed)
        problems += told
    return Audit(
        question=run.question,
        method=chosen,
        regions=places.regions,
        by=by,
        everything=audited.group(None, ALL, seen.looks),
        subgroups=audited.subgroups(None, seen.looks),
        classes=classes,
        problems=tuple(problems),
        before=None if before is None else before.question,
        changes=found,
        looks=tuple(seen.looks),
    )


class _Audited:
    """Puts looks together into groups and classes."""

    def __init__(self, seen: Seen, seed: int, top: int, parts: Sequence[str]) -> None:
        self.seen, self.seed, self.top, self.parts = seen, seed, top, parts

    def group(self, key: Class | None, name: str, looks: Sequence[Look]) -> Group:
        maps = self.seen.averages.average((key, name)), self.seen.averages.aligned((key, name))
        return group(
            name, looks, self.seen.regions, maps, most_misplaced(looks, self.top), self.seed, of_class=key is not None
        )

    def subgroups(self, key: Class | None, looks: Sequence[Look]) -> tuple[Group, ...]:
        return tuple(self.group(key, name, part) for name, part in self._parts(looks))

    def _parts(self, looks: Sequence[Look]) -> list[tuple[str, list[Look]]]:
        """The looks of each subgroup that has any."""
        by = self.seen.by or ""
        found = [(titled(by, value), [look for look in looks if told(look, by) == value]) for value in self.parts]
        return [(name, part) for name, part in found if part]

    def classes(self, hidings: Sequence[Hiding], *, clusters: bool) -> tuple[ClassAudit, ...]:
        """Each class with its verdict, the one with most misplaced evidence first."""
        looks: dict[Class, list[Look]] = {}
        for look in self.seen.looks:
            looks.setdefault(class_of(look), []).append(look)
        told: dict[Class, list[Hiding]] = {}
        for each in hidings:
            told.setdefault(class_of(self.seen.looks[each.look]), []).append(each)
        alls = {key: self.group(key, ALL, own) for key, own in looks.items()}
        subgroups = {key: self.subgroups(key, own) for key, own in looks.items()}
        effects = {key: self._hidden(told.get(key, ())) for key in looks}
        cases = [
            Case(
                name=self.seen.names.get(key[0], key[1].removeprefix("against ")),
                groups=[
                    (alls[key], own),
                    *zip(subgroups[key], (part for _, part in self._parts(own)), strict=True),
                ],
                hidden=effects[key],
            )
            for key, own in looks.items()
        ]
        judged = verdicts(cases, self.seen.regions)
        found = []
        for (key, own), verdict in zip(looks.items(), judged, strict=True):
            found.append(
                ClassAudit(
                    name=key[1],
                    index=key[0],
                    all=alls[key],
                    right=self.group(key, RIGHT, [look for look in own if look.right is True]),
                    wrong=self.group(key, WRONG, [look for look in own if look.right is False]),
                    subgroups=subgroups[key],
                    clusters=self._clusters(key) if clusters else (),
                    hidden=tuple(each for each, _ in effects[key].values()),
                    misplaced=misplaced(own, self.seed),
                    verdict=verdict,
                    gap=gap(self._parts(own), self.seen.regions, self.seed),
                )
            )
        return tuple(sorted(found, key=_rank))

    def _hidden(self, hidings: Sequence[Hiding]) -> dict[str, tuple[Hidden, list[tuple[str, Hiding]]]]:
        found = {}
        for region in self.seen.regions:
            own = [each for each in hidings if each.region == region.name]
            pictures = [self.seen.looks[each.look].picture for each in own]
            if own:
                found[region.name] = hidden(region, own, pictures, self.seed), list(zip(pictures, own, strict=True))
        return found

    def _clusters(self, key: Class) -> tuple[Group, ...]:
        """The clusters of the class's maps that were kept; their examples are the nearest to their means."""
        kept = sorted(self.seen.kept.get(key, ()), key=lambda each: each.look)
        step = SIDE // CELLS
        coarse = [each.average.reshape(CELLS, step, CELLS, step).sum((1, 3)) for each in kept]
        found = []
        for n, places in enumerate(clustered(coarse, self.seed), 1):
            averages, looks = Averages(), [self.seen.looks[kept[place].look] for place in places]
            for place in places:
                averages.add([n], kept[place].average, kept[place].aligned)
            maps = averages.average(n), averages.aligned(n)
            found.append(group(f"cluster {n}", looks, self.seen.regions, maps, looks[: self.top], self.seed))
        return tuple(found)


def _rank(each: ClassAudit) -> tuple[float, str]:
    """Most misplaced evidence first; classes of which nobody knows last."""
    return -(each.misplaced.value if each.misplaced.value is not None else -1.0), each.name


def _look(
    seen: Seen, run: Run, method: str, asked: str | None, places: Places, hider: Hider | None, progress: Told | None
) -> None:
    total = _count(run, method, asked)
    met: set[tuple[str, Class]] = set()  # a picture counts once in a class, though two targets may be the same class
    for done, row in enumerate(_rows(run, method, asked), 1):
        if progress is not None:
            progress(done, total)
        key = row["picture"], (row["index"], row["target"])
        if key in met:
            continue
        met.add(key)
        marks = places.of(row)
        look, visible = seen.add(row, marks)
        if hider is not None and (sample := places.picture(row)) is not None:
            hider.add(len(seen.looks) - 1, look, sample.picture, marks, visible)


def _count(run: Run, method: str, asked: str | None) -> int:
    """How many rows have a map that is audited."""
    arrow()
    from pyarrow import compute

    table = run.table(["method", "asked", "map_height"])
    told = compute.and_(compute.equal(table["method"], method), compute.is_valid(table["map_height"]))
    if asked is not None:
        told = compute.and_(told, compute.equal(table["asked"], asked))
    return int(compute.sum(told).as_py() or 0)


def _rows(run: Run, method: str, asked: str | None) -> Iterator[Row]:
    return (row for row in run.rows(method) if asked in (None, row["asked"]))


def _unfinished(run: Run) -> list[str]:
    """A line where the run hasn't all its pictures yet."""
    there = run.table(["place", "picture"]).group_by(["place", "picture"]).aggregate([]).num_rows
    of = run.question["pictures"]
    return [f"{there} of {of} pictures: the run isn't finished, the same `sightline run` goes on"] if there < of else []


def _problems(run: Run, seen: Seen, places: Places) -> list[str]:
    lines = list(dict.fromkeys(f"{picture}: {why}" for picture, why in run.errors()))
    if seen.empty:
        lines.append(f"{seen.empty} of {len(seen.looks)} maps are nowhere above zero, and hold no evidence")
    return lines + places.lines()


def _changes(
    before: Run, after: Seen, method: str, asked: str | None, places: Places, seed: int
) -> tuple[tuple[Change, ...], list[str]]:
    """What has changed since another run, and lines about what could not be compared."""
    suspects = {region.name for region in places.regions if region.suspect}
    same = Places(
        before,
        {name: marks for name, marks in places.marks.items() if name not in suspects},
        {name: marks for name, marks in places.marks.items() if name in suspects},
    )
    seen = Seen(places.regions, None, seed)
    _look(seen, before, _method(before, method), asked, same, None, None)
    by_target = asked != "predicted"
    pairs, alone = paired(seen.looks, after.looks, by_target=by_target)
    if not pairs:
        raise DataError(
            f"{before.folder} has no picture in common with the run (by name and content); give a run over the same "
            "pictures"
        )
    lines = [f"{alone} rows of the two runs have no other to compare with: another picture or target"] if alone else []
    return changes(pairs, after.regions, seed, by_target=by_target), lines


def _run(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else Run(run)


def _method(run: Run, method: str | Method | None) -> str:
    if method is None:
        return run.methods[0]
    if isinstance(method, Method):
        method = method.title
    if method not in run.methods:
        raise DataError(f"{run.folder} has no maps by {method!r}; its methods: {', '.join(run.methods)}")
    return method
