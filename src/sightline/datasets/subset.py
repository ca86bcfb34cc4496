"""Some of a data set's pictures, spread evenly or drawn by a seed."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sightline.datasets.listed import Listed
from sightline.errors import DataError
from sightline.trials import DataSet, Sample


@dataclass(frozen=True)
class Some(Mapping[str, Any]):
    """Some entries of a data set, each looked up when it is asked for."""

    names: Mapping[str, None] = field(repr=False)  # in order
    whole: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def subset(data: DataSet, count: int, seed: int | None = None) -> Listed[Any]:
    """`count` pictures, or all where there are fewer, in the data set's order: every so many-th, or drawn by a seed.

    What was wrong with annotations of the whole stays in `problems`. Raises DataError where count isn't above 0.
    """
    if count < 1:
        raise DataError(f"{count} pictures of {data.name} can't be judged; expected 1 to {len(data)}")
    count = min(count, len(data))
    if seed is None:
        places, drawn = [place * len(data) // count for place in range(count)], "evenly"
    else:
        places, drawn = sorted(random.Random(seed).sample(range(len(data)), count)), f"seed {seed}"
    name, names = f"{data.name}, {count} of {len(data)}, {drawn}", data.names
    if isinstance(data, Listed):  # of the same kind, so that files stay files
        return replace(data, name=name, entries=Some(dict.fromkeys(names[place] for place in places), data.entries))
    read = partial(_sample, data=data)
    return Listed(name, data.knows, {names[place]: place for place in places}, read, tuple(data.problems))


def _sample(name: str, place: int, *, data: DataSet) -> Sample:
    return data[place]
