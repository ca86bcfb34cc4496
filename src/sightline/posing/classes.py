"""Questions of classes that have a form of their own: a set of them, an answer, a number that rises or falls."""

from sightline.errors import TargetError
from sightline.model import Task
from sightline.posing.setting import Posed, Setting, refused
from sightline.targets import Phrase, all_of, class_, counterfactual, finer, logits, probabilities, top_indices, value


def one(setting: Setting, text: str) -> Posed:
    """A class by name or index."""
    return _class(setting, setting.model.labels.index(text))


def together(setting: Setting, text: str) -> Posed:
    """`all:cat,dog`: classes as a set."""
    indices = [setting.model.labels.index(name) for name in text.split(",") if name.strip()]
    if not indices:
        raise TargetError("'all:' needs classes, as in all:cat,dog")
    return Posed(all_of(indices), " + ".join(setting.model.labels[index] for index in indices))


def answer(setting: Setting, text: str) -> Posed:
    """`answer`: what the model answers; `answer:NAME` another answer."""
    if text:
        return one(setting, text)
    return _class(setting, int(top_indices(logits(setting.output), 1)[0, 0]))


def finest(setting: Setting, text: str) -> Posed:
    """`finer:NAME`: what tells a class from its nearest rivals."""
    if setting.model.task not in (Task.CLASSES, Task.ANSWERS):
        raise refused(setting, f"'finer:{text}'", (Task.CLASSES, Task.ANSWERS))
    inner = one(setting, text)
    assert inner.index is not None
    return Posed(finer(inner.index), f"{inner.name}, finer", inner.index, phrase=Phrase(inner.index, finer=True))


def raises(setting: Setting, text: str) -> Posed:
    """`raises`: what raises the number that a regression net gives; `raises:NAME` which of several."""
    index = setting.model.labels.index(text) if text else 0
    return Posed(value(index), f"raises {_number(setting, index)}")


def lowers(setting: Setting, text: str) -> Posed:
    """`lowers`: what lowers it."""
    index = setting.model.labels.index(text) if text else 0
    return Posed(counterfactual(value(index)), f"lowers {_number(setting, index)}")


def _class(setting: Setting, index: int) -> Posed:
    target = class_(index)
    target(setting.output)  # a class that isn't there is an error before any map is made
    shares = probabilities(logits(setting.output), multi_label=setting.model.multi_label)
    return Posed(target, setting.model.labels[index], index, float(shares[0, index]), phrase=Phrase(index))


def _number(setting: Setting, index: int) -> str:
    return setting.model.labels[index] if setting.model.labels else "the value" if index == 0 else f"value {index}"
