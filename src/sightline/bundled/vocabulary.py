"""The words that an embedded net knows, as tokens."""

import difflib
import re
from dataclasses import dataclass

from sightline.errors import TargetError


@dataclass(frozen=True)
class Vocabulary:
    """Words by their tokens; the first is no word but a mark: of a sentence's end, or of a blank place."""

    words: tuple[str, ...]

    def read(self, text: str) -> list[int]:
        """A sentence's words as tokens; case and marks of punctuation don't count.

        Raises TargetError for a word that isn't known, naming the nearest ones, and for no words.
        """
        found = re.findall(r"[^\W_]+", text.casefold())
        if not found:
            raise TargetError(f"no words in {text!r}; known are: {', '.join(self.words[1:])}")
        for word in found:
            if word not in self.words[1:]:
                near = difflib.get_close_matches(word, self.words[1:], n=3, cutoff=0.5)
                raise TargetError(
                    f"the word {word!r} isn't known; "
                    + (f"nearest: {', '.join(map(repr, near))}" if near else f"known are: {', '.join(self.words[1:])}")
                )
        return [self.words.index(word) for word in found]
