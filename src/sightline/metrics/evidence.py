"""What of a map is evidence for its class, beside its largest value: the mask that is laid over an image."""

from torch import Tensor


def evidence(values: Tensor) -> Tensor | None:
    """A map's positive part over its maximum, 0 to 1; None where nothing is above zero."""
    positive = values.detach().float().clamp(min=0)
    highest = positive.max()
    return positive / highest if highest > 0 else None
