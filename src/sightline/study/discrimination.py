"""Class discrimination: a picture has two classes, a map explains one of them, and people say which.

Selvaraju et al., arXiv 1610.02391, section 5.1: pictures of VOC 2007 with exactly two annotated classes, a map of each
of the two, 90 pairs of picture and class by four methods, nine people for each. Chance is 50 %. Here too each picture
is shown with either class, in different orders.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random

from sightline.runs.kept import Run
from sightline.study.plan import Asked, Planned, drawn, enough, shuffled
from sightline.study.trials import Key

QUESTION = "Which of the two object categories is depicted in the image?"
PICTURES = 45  # the paper's 90 pairs


def plan(run: Run, methods: Sequence[str], count: int | None, random: Random) -> list[list[Planned]]:
    """Each drawn picture's trials: either class by each method. Both classes are offered in the same order in all.

    Over the pictures, a class is named first about as often as second. Raises DataError where too few pictures have
    exactly two classes, with a map of both by every method.
    """
    there = _candidates(run, methods)
    told = (
        f"of the run in {run.folder} have exactly two classes, both with a map (target `label`) by each of "
        f"{', '.join(methods)}"
    )
    count = enough(len(there), count, PICTURES, told)
    pictures = drawn({picture: tuple(named) for picture, named in there.items()}, count, random)
    ahead: Counter[str] = Counter()  # how often a class was named first, less how often second
    found = []
    for picture in pictures:
        options = sorted(shuffled(sorted(there[picture]), random), key=ahead.__getitem__)
        ahead.update({options[0]: 1, options[1]: -1})
        found.append(
            [
                Planned(
                    maps=(Asked(0, picture, there[picture][name], method),),
                    options=tuple(options),
                    key=Key(method, picture, item=f"{picture}: {name}", right=place),
                )
                for place, name in enumerate(options)
                for method in methods
            ]
        )
    return found


def _candidates(run: Run, methods: Sequence[str]) -> dict[str, dict[str, int]]:
    """The pictures that have exactly two classes, both explained by every method: each class's name and index."""
    columns = ["picture", "labels", "asked", "target", "index", "method", "error"]
    maps: dict[str, dict[str, int]] = defaultdict(dict)
    by: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for row in run.table(columns).to_pylist():
        if row["error"] is None and row["asked"] == "label" and len(set(row["labels"] or ())) == 2:
            maps[row["picture"]][row["target"]] = row["index"]
            by[row["picture"]].add((row["index"], row["method"]))
    return {
        picture: named
        for picture, named in maps.items()
        if len(named) == 2 and by[picture] >= {(index, method) for index in named.values() for method in methods}
    }
