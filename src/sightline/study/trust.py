"""Trust: two models say the same, and rightly; from one method's maps of both, people say which is more reliable.

Selvaraju et al., arXiv 1610.02391, section 5.2: VGG-16 beside AlexNet, which is known to be worse, on pictures where
both predict the true class, so that only the maps can tell. Answers count from -2 to +2.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from sightline.errors import DataError
from sightline.runs.kept import Run
from sightline.study.plan import CLASSES, Asked, Planned, drawn, enough, shuffled
from sightline.study.trials import Key

QUESTION = "Which robot is more reliable?"
OPTIONS = (
    "Robot A is clearly more reliable",
    "Robot A is slightly more reliable",
    "Both are equally reliable",
    "Robot B is slightly more reliable",
    "Robot B is clearly more reliable",
)
VALUES = (2.0, 1.0, 0.0, -1.0, -2.0)  # of the options, where robot A is the better model
PICTURES = 45


@dataclass(frozen=True)
class Right:
    """A picture that a model is right about: the class, its index, the file's hash, and the methods that explain it."""

    name: str
    index: int
    content: str
    methods: frozenset[str]


def plan(
    first: Run, second: Run, methods: Sequence[str], count: int | None, better: int, random: Random
) -> list[list[Planned]]:
    """Each drawn picture's trials: both runs' maps by each method. `better` is the place of the better run, 0 or 1.

    It is robot A in half of the pictures. Raises DataError where too few pictures are named rightly by both, with a
    map of that class by every method.
    """
    there = _candidates(first, second, methods)
    told = (
        f"are in both {first.folder} and {second.folder} and named rightly by both models, with a map of that class "
        f"(target `label` or `predicted`) by each of {', '.join(methods)}"
    )
    count = enough(len(there), count, PICTURES, told)
    pictures = drawn({picture: (pair[0].name,) for picture, pair in there.items()}, count, random)
    sides = shuffled([nth % 2 for nth in range(count)], random)
    found = []
    for picture, left in zip(pictures, sides, strict=True):
        pair = there[picture]
        name = pair[0].name
        values = VALUES if left == better else VALUES[::-1]
        found.append(
            [
                Planned(
                    maps=tuple(Asked(run, picture, pair[run].index, method) for run in (left, 1 - left)),
                    options=OPTIONS,
                    key=Key(method, picture, item=f"{picture}: {name}", values=values),
                    about=f"Both robots say: {name}",
                )
                for method in methods
            ]
        )
    return found


def accuracies(first: Run, second: Run) -> tuple[float, float]:
    """The share (0 to 1) that each model names rightly of the pictures in both runs. Raises DataError without any."""
    answers = [_answers(run) for run in (first, second)]
    both = answers[0].keys() & answers[1].keys()
    if not both:
        raise DataError(
            f"the runs in {first.folder} and {second.folder} have no labelled picture in common, by name and content; "
            "run both models over the same data"
        )
    first_right, second_right = (sum(answer[each] for each in both) / len(both) for answer in answers)
    return first_right, second_right


def _answers(run: Run) -> dict[tuple[str, str], bool]:
    """Whether the model is right about a picture, by its name and content."""
    rows = run.table(["picture", "content", "correct"]).to_pylist()
    return {(row["picture"], row["content"]): row["correct"] for row in rows if row["correct"] is not None}


def _candidates(first: Run, second: Run, methods: Sequence[str]) -> dict[str, tuple[Right, Right]]:
    """The pictures about which both models are right, in the same words, and explained so by every method."""
    ours, theirs = _rights(first), _rights(second)
    return {
        picture: (one, theirs[picture])
        for picture, one in ours.items()
        if picture in theirs
        and (one.name, one.content) == (theirs[picture].name, theirs[picture].content)
        and one.methods & theirs[picture].methods >= {*methods}
    }


def _rights(run: Run) -> dict[str, Right]:
    columns = ["picture", "asked", "content", "predicted", "predicted_name", "correct", "index", "method", "error"]
    found: dict[str, tuple[str, int, str]] = {}
    by: dict[str, set[str]] = defaultdict(set)
    for row in run.table(columns).to_pylist():
        right = row["correct"] and row["index"] == row["predicted"]
        if row["error"] is None and right and row["asked"] in CLASSES:
            found[row["picture"]] = row["predicted_name"], row["index"], row["content"]
            by[row["picture"]].add(row["method"])
    return {picture: Right(*told, frozenset(by[picture])) for picture, told in found.items()}
