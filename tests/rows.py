"""Rows of METHODS made quick enough to be tested one and all, and where each is defined."""

from typing import Any

import pytest
from nets import Pooled, Residual, Trained, Vit
from torchvision.models import resnet18, squeezenet1_1

import sightline
from sightline.types import Kind, Method, Needs

QUICK: dict[str, Any] = {
    "samples": 3, "steps": 4, "masks": 12, "cells": 3, "window": 3, "stride": 2, "areas": (0.2, 0.5), "segments": 6,
}  # fmt: skip

_ENOUGH = {"extremal-perturbation": {"cells": 8, "steps": 10}}  # to tell classes apart

NETS: dict[str, tuple[Any, str, tuple[int, int]]] = {
    "pooled": (Pooled, "features", (9, 7)),
    "residual": (Residual, "late", (16, 12)),
    "vit": (Vit, "encoder.layers.encoder_layer_0", (16, 16)),
    "resnet18": (lambda: resnet18(num_classes=10), "layer4", (64, 96)),
    "squeezenet": (lambda: squeezenet1_1(num_classes=10), "features", (64, 80)),
    "trained": (Trained, "drop", (9, 7)),
}
LARGE = ("resnet18", "squeezenet")
_REFUSED = {
    Needs.LINEAR_HEAD: {"residual", "squeezenet", "vit"},
    Needs.RELU: {"vit"},
    Needs.RULES: {"vit"},
    Needs.BIASES: {"vit"},
    Needs.ATTENTION: set(NETS) - {"vit"},
}


def quick(row: Method) -> Method:
    """The row with few samples, steps, masks and so on."""
    few = {name: value for name, value in QUICK.items() if name in row.choices}
    return row.set(**(few | _ENOUGH.get(row.name, {})))


ROWS = tuple(map(quick, sightline.METHODS))


def defined(row: Method, net: str) -> bool:
    return net not in _REFUSED.get(row.needs, set()) or row.name == "attn-lrp"


def rows_on(*nets: str, kinds: Any = tuple(Kind)) -> Any:
    """Every row with every of these nets that it is defined on; rows that ask many times over skip the large ones."""
    cases = [
        pytest.param(row, net, id=f"{row.name}-{net}")
        for row in ROWS for net in nets
        if row.kind in kinds and defined(row, net) and not (net in LARGE and row.kind is Kind.ASKING)
    ]  # fmt: skip
    return pytest.mark.parametrize(("row", "name"), cases)


def own_net(row: Method) -> str:
    """The smallest net that the row is defined on."""
    return next(net for net in ("pooled", "vit") if defined(row, net))


def evaluated(formula: str, row: Method, **sizes: int) -> int:
    """A cost formula in numbers: the row's options, and the sizes that it names."""
    return int(eval(formula, {"__builtins__": {}, "len": len, "max": max, "min": min}, {**row.choices, **sizes}))
