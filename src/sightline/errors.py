"""The tree of errors: each message names what was given, what was expected and what to do.

SightlineError
├── PictureError      a file or array that is no readable picture
├── ModelError        a model or its weights can't be found, loaded or run
├── LayerError        a layer can't be explained
│   ├── LayerNotFound     no module of that name
│   ├── LayerNotReached   the forward pass didn't call it (often enough)
│   ├── NoSpace           its output has no height and width
│   └── CutOff            the score doesn't depend on it
├── TargetError       a class, name or callable that can't be scored
├── MethodError       no such method, or it isn't defined on this model
├── DataError         a data set, or what is annotated of one of its pictures, can't be read
└── MetricError       no such metric, or it can't be taken of this data set or model
"""


class SightlineError(Exception):
    """Any error that Sightline raises on purpose."""


class PictureError(SightlineError):
    """A file or array that is no readable picture."""


class ModelError(SightlineError):
    """A model or its weights can't be found, loaded or run."""


class LayerError(SightlineError):
    """A layer can't be explained."""


class LayerNotFound(LayerError):
    """No module of that name."""


class LayerNotReached(LayerError):
    """The forward pass didn't call the layer, or not often enough."""


class NoSpace(LayerError):
    """The layer's output has no height and width."""


class CutOff(LayerError):
    """The score doesn't depend on the layer's output."""


class TargetError(SightlineError):
    """A class, name or callable that can't be scored."""


class MethodError(SightlineError):
    """No such method, or it isn't defined on this model."""


class DataError(SightlineError):
    """A data set, or what is annotated of one of its pictures, can't be read."""


class MetricError(SightlineError):
    """No such metric, or it can't be taken of this data set or model."""


def first_line(error: BaseException) -> str:
    """Another library's error in one line, for a message of ours."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
