"""Labels: the classes' names, and the class that a person means by one."""

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sightline.errors import ModelError, TargetError


@dataclass(frozen=True)
class Labels:
    """The classes' names in the order of their indices, and their WordNet ids where known.

    A name may list synonyms, separated by commas.
    """

    names: tuple[str, ...]
    wnids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        """The first name of a class, or its index as text where it has none."""
        return self.names[index].split(",")[0].strip() if 0 <= index < len(self.names) else str(index)

    def index(self, asked: str, *, whole: bool = False) -> int:
        """The class that a name, synonym, wnid or index in digits means, where digits are no class's name.

        Unless it must be `whole`, a name needn't be where its words fit one class only ("tabby cat", "great
        white"). Raises TargetError, with the nearest names, where it fits none or several.
        """
        text = _spoken(asked)
        spoken = [[_spoken(part) for part in name.split(",")] for name in self.names]
        exact = [i for i, names in enumerate(spoken) if text in names]
        if re.fullmatch(r"\d+", text) and not exact:
            return int(text)
        if text in self.wnids:
            return self.wnids.index(text)
        words = set(text.split())
        part = [
            i for i, names in enumerate(spoken)
            if any(set(name.split()) <= words or words <= set(name.split()) for name in names)
        ]  # fmt: skip
        found = exact or (part if words and not whole else [])
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{self[i]!r} ({i})" for i in found[:6]) + (", ..." if len(found) > 6 else "")
            raise TargetError(f"{asked!r} fits {len(found)} classes: {listed}; give a whole name or an index")
        if not self.names:
            raise TargetError(f"the model has no class names to look {asked!r} up in; give an index or labels")
        every = {name: i for i, names in enumerate(spoken) for name in names}
        near = difflib.get_close_matches(text, every, n=4, cutoff=0.5)
        listed = ", ".join(f"{self[every[name]]!r} ({every[name]})" for name in near) or "none"
        raise TargetError(f"no class {asked!r} among {len(self)}; nearest: {listed}")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Labels from a text file with a name per line, or JSON: names, or objects with `index`, `name`, `wnid`.

        Raises ModelError where the file is neither.
        """
        try:
            text = file.read_text(encoding="utf-8")
            if file.suffix != ".json":
                return cls(tuple(line.strip() for line in text.splitlines() if line.strip()))
            rows = json.loads(text)
            if all(isinstance(row, str) for row in rows):
                return cls(tuple(rows))
            rows = sorted(rows, key=lambda row: row["index"])
            return cls(tuple(row["name"] for row in rows), tuple(row["wnid"] for row in rows if "wnid" in row))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"labels file {file} can't be read ({error}); expected a name per line, or a JSON list of names"
            ) from error


NO_LABELS = Labels(())


def _spoken(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())
