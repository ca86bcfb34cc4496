"""A study's trials: what is shown and asked, and apart from it the key that says what was shown.

A study is a folder: `study.json` is all that a participant's page may know, `key.json` what it must not, `pictures/`
what is shown, `answers.sqlite` what was answered. Names of files and trials are drawn at random, so that neither a
method nor an answer can be read out of them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from sightline.errors import DataError, first_line

PUBLIC, KEY, PICTURES, ANSWERS = "study.json", "key.json", "pictures", "answers.sqlite"


class Kind(StrEnum):
    """What participants are asked; Selvaraju et al., arXiv 1610.02391, sections 5.1 and 5.2."""

    DISCRIMINATION = "discrimination"  # which of the two classes does the map explain?
    TRUST = "trust"  # which of two models is the more reliable, from -2 to +2?


@dataclass(frozen=True)
class Trial:
    """One question: `pictures` are files in the study's folder, left to right, `options` what can be answered.

    An answer is the place of an option. `about` is what is said above the pictures, if anything.
    """

    id: str
    pictures: tuple[str, ...]
    options: tuple[str, ...]
    about: str = ""


@dataclass(frozen=True)
class Key:
    """What was shown in a trial.

    `item` is what trials that differ only in the method have in common: picture and class. Of a discrimination
    trial `right` is the place of the right option. Of a trust trial `values` says what each option counts for
    the model that is known to be better: +2 where that is said to be clearly more reliable, -2 where the other is.
    """

    method: str
    picture: str
    item: str
    right: int | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Study:
    """All trials and their key. `orders` are lists of trials' ids, one for each participant in turn, then again.

    No order shows a picture twice, and over all of them each trial is shown about as often as any other.
    `facts` is what the analysis tells of the study: models, data, methods, seed.
    """

    kind: Kind
    question: str
    trials: tuple[Trial, ...]
    orders: tuple[tuple[str, ...], ...]
    key: Mapping[str, Key] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """16 hexadecimal digits that tell this study from any other, made of its trials' names."""
        return hashlib.sha256(" ".join(trial.id for trial in self.trials).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write study.json and key.json; the pictures are whoever drew them's. Raises DataError."""
        public = {
            "kind": self.kind,
            "question": self.question,
            "trials": [asdict(trial) for trial in self.trials],
            "orders": self.orders,
        }
        secret = {"facts": self.facts, "key": {name: asdict(key) for name, key in self.key.items()}}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, told in ((PUBLIC, public), (KEY, secret)):
                (folder / file).write_text(json.dumps(told, indent=1), encoding="utf-8")
        except OSError as error:
            raise DataError(f"{folder} can't be written to ({error}); choose another folder") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises DataError where it can't be read."""
        try:
            public = json.loads((folder / PUBLIC).read_text(encoding="utf-8"))
            secret = json.loads((folder / KEY).read_text(encoding="utf-8"))
            return cls(
                Kind(public["kind"]),
                public["question"],
                tuple(Trial(**t | {n: tuple(t[n]) for n in ("pictures", "options")}) for t in public["trials"]),
                tuple(map(tuple, public["orders"])),
                {name: Key(**k | {"values": tuple(k["values"])}) for name, k in secret["key"].items()},
                secret["facts"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder} holds no study ({first_line(error)}); expected a folder that `sightline study build` wrote"
            ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What one participant answered in one trial: the place of an option, and the seconds that it took.

    `at` is when, as ISO 8601 in UTC.
    """

    participant: str
    trial: str
    answer: int
    seconds: float
    at: str


Answers = Sequence[Answer]
