"""See why a vision model decided, and test whether to believe it.

Names load what they need when they are first used, so that `import sightline` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline import audit, datasets, errors, inside, methods, metrics, mil, runs, study, targets
    from sightline.ask import grad_cam, maps
    from sightline.clips import explain_clip
    from sightline.evaluation import Evaluation, evaluate
    from sightline.explainer import compare, explain, explained
    from sightline.explanation import Explanation
    from sightline.methods import METHODS
    from sightline.metrics import METRICS
    from sightline.model import Model, wrap
    from sightline.preprocess import Preprocess
    from sightline.sources import load
    from sightline.targets import Labels
    from sightline.trials import Metric
    from sightline.types import Method
    from sightline.volumes import explain_volume

__version__ = "0.6.0"

__all__ = [
    "METHODS",
    "METRICS",
    "Evaluation",
    "Explanation",
    "Labels",
    "Method",
    "Metric",
    "Model",
    "Preprocess",
    "audit",
    "compare",
    "datasets",
    "errors",
    "evaluate",
    "explain",
    "explain_clip",
    "explain_volume",
    "explained",
    "grad_cam",
    "inside",
    "load",
    "maps",
    "methods",
    "metrics",
    "mil",
    "runs",
    "study",
    "targets",
    "wrap",
]

_WHERE = {
    "METHODS": "methods",
    "METRICS": "metrics",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "Labels": "targets",
    "Method": "types",
    "Metric": "trials",
    "Model": "model",
    "Preprocess": "preprocess",
    "compare": "explainer",
    "evaluate": "evaluation",
    "explain": "explainer",
    "explain_clip": "clips",
    "explain_volume": "volumes",
    "explained": "explainer",
    "grad_cam": "ask",
    "load": "sources",
    "maps": "ask",
    "wrap": "model",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"sightline.{_WHERE[name]}"), name)
    if name in __all__:
        return import_module(f"sightline.{name}")
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
