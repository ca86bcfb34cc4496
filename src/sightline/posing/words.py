"""Questions of what a model writes: a sentence as a whole, or one of its words."""

import math
import re

from sightline.errors import TargetError
from sightline.language import Word
from sightline.posing.setting import Posed, Setting
from sightline.targets import written


def sentence(setting: Setting, text: str) -> Posed:
    """`caption` or `answer`: the whole sentence."""
    if text:
        raise TargetError(f"a sentence other than the model's own is given with text (--text {text!r})")
    return _posed(setting, slice(None), f'"{said(setting)}"')


def word(setting: Setting, text: str) -> Posed:
    """`word:3`, counted from 1, or `word:red`: one word of the sentence."""
    place = _place(setting, text.strip())
    found = setting.words[place - 1]
    same = sum(each.text == found.text for each in setting.words) > 1
    return _posed(setting, found.tokens, f"{found.text} (word {place})" if same else found.text)


def all_words(setting: Setting) -> list[str]:
    """The questions that are asked where none is: the sentence, and each word."""
    return ["caption", *(f"word:{place}" for place in range(1, len(setting.words) + 1))]


def said(setting: Setting) -> str:
    """The sentence."""
    return " ".join(each.text for each in setting.words)


def _place(setting: Setting, text: str) -> int:
    words: list[Word] = setting.words
    places = [place for place, each in enumerate(words, 1) if each.text.casefold() == text.casefold()]
    if re.fullmatch(r"\d+", text) and 1 <= int(text) <= len(words):
        return int(text)
    if len(places) == 1:
        return places[0]
    numbered = ", ".join(f"{place} {each.text}" for place, each in enumerate(words, 1))
    fits = "fits no word" if not places else f"fits {len(places)} words"
    raise TargetError(f"{text!r} {fits} of what was written: {numbered}; give a word's number")


def _posed(setting: Setting, tokens: slice, name: str) -> Posed:
    target = written(setting.tokens, tokens)
    return Posed(target, name, share=math.exp(min(float(target(setting.output)[0]), 0.0)))
