"""Answers beside the key: what each of them counts for, by whom, of which method and picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError
from sightline.study.trials import Answer, Key, Kind, Study, Trial

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer and what was shown: `value` is 1 or 0, right or wrong, or a trust study's -2 to +2."""

    answer: Answer
    trial: Trial
    key: Key
    value: float

    @property
    def side(self) -> int:
        """Which way the answer leans, whatever it counts for: 0 the first half of the options, 1 the other, -1 none."""
        before, after = self.answer.answer, len(self.trial.options) - 1 - self.answer.answer
        return -1 if before == after else int(before > after)

    def row(self) -> dict[str, Any]:
        """All of it as a row of a table."""
        return {
            "participant": self.answer.participant,
            "trial": self.trial.id,
            "method": self.key.method,
            "picture": self.key.picture,
            "item": self.key.item,
            "answer": self.trial.options[self.answer.answer],
            "place": self.answer.answer,
            "value": self.value,
            "seconds": self.answer.seconds,
            "at": self.answer.at,
        }


def judged(study: Study, answers: Iterable[Answer]) -> list[Judged]:
    """Each participant's first answer to each trial, in order. Raises DataError for answers to no trial of it."""
    trials = {trial.id: trial for trial in study.trials}
    found: dict[tuple[str, str], Judged] = {}
    for answer in answers:
        trial, key = trials.get(answer.trial), study.key.get(answer.trial)
        if trial is None or key is None:
            raise DataError(
                f"{answer.participant} answered trial {answer.trial!r}, which this study doesn't have; "
                "give the answers together with the study's own folder"
            )
        if not 0 <= answer.answer < len(trial.options):
            raise DataError(
                f"{answer.participant} answered {answer.answer} in trial {trial.id}; expected the place of one of its "
                f"{len(trial.options)} options, from 0"
            )
        found.setdefault((answer.participant, answer.trial), Judged(answer, trial, key, _value(study, key, answer)))
    return list(found.values())


def _value(study: Study, key: Key, answer: Answer) -> float:
    if study.kind is Kind.TRUST:
        return float(key.values[answer.answer])
    return float(answer.answer == key.right)


@dataclass(frozen=True, eq=False)
class Columns:
    """Some answers as arrays (N,): their values, and the places of their participants and pictures."""

    values: Numbers
    people: Places
    pictures: Places

    @classmethod
    def of(cls, answers: Sequence[Judged]) -> "Columns":
        people = np.unique([each.answer.participant for each in answers], return_inverse=True)[1]
        pictures = np.unique([each.key.picture for each in answers], return_inverse=True)[1]
        return cls(np.array([each.value for each in answers]), people, pictures)
