"""COCO's run-length masks: how many pixels are off, on, off, ... down the columns, as numbers or packed as text.

Read here and not by pycocotools, whose decoder, given runs that don't fill the picture, shows whatever the memory
held, or breaks the process.
"""

from collections.abc import Sequence

import numpy as np

from sightline.errors import DataError
from sightline.regions import Mask


def from_runs(counts: object, size: tuple[int, int], where: str) -> Mask:
    """Runs, a list or a text -> a mask (height, width). Raises DataError, beginning with `where`."""
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    whole = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
    if not isinstance(runs, list) or not whole or sum(runs) != size[0] * size[1]:
        raise DataError(f"{where} has run lengths that don't fill {size[0]} x {size[1]} pixels; export them again")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size).T


def _unpacked(text: str) -> Sequence[int] | None:
    """Six bits a character from "0" on: five of a signed number, least first, and whether more follow.

    From the fourth run on each number is the difference to the run before the last. None for what breaks that.
    """
    runs: list[int] = []
    value = shift = 0
    for digit in (ord(each) - 48 for each in text):
        if not 0 <= digit < 64 or shift > 60:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
