"""Studies: let people judge the maps, as Grad-CAM's two experiments did."""

from sightline.study.trials import Answer, Key, Kind, Study, Trial

__all__ = ["Answer", "Key", "Kind", "Study", "Trial"]
