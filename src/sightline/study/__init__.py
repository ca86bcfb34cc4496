"""Studies: let people judge the maps, as Grad-CAM's two experiments did."""

from sightline.study.analysis import Analysis, analyse
from sightline.study.build import build
from sightline.study.trials import Answer, Key, Kind, Study, Trial

__all__ = ["Analysis", "Answer", "Key", "Kind", "Study", "Trial", "analyse", "build"]
