"""Targets: what is asked of the model's output. A target turns an output into scores (N,) or (N, K).

One kind of question a file: classes and what is made of them (scores), regions of a segmentation (regions),
boxes of a detector (boxes), likeness of embeddings (likeness), words (words). They compose:
`counterfactual(contrast(class_(281), class_(282)))`.
"""

from sightline.targets.asked import Asked, Phrase, Question, phrase, question
from sightline.targets.boxes import Candidates, box, candidates, from_detr, from_yolo
from sightline.targets.detections import Detection, detections
from sightline.targets.labels import Labels
from sightline.targets.likeness import embedding, like
from sightline.targets.regions import pixel, pixel_logits, region
from sightline.targets.scores import (
    Target,
    TargetLike,
    all_of,
    class_,
    contrast,
    counterfactual,
    finer,
    logits,
    named,
    probabilities,
    several,
    top,
    top_indices,
    value,
)
from sightline.targets.words import written

__all__ = [
    "Asked", "Candidates", "Detection", "Labels", "Phrase", "Question", "Target", "TargetLike", "all_of", "box",
    "candidates", "class_", "contrast", "counterfactual", "detections", "embedding", "finer", "from_detr", "from_yolo",
    "like", "logits", "named", "phrase", "pixel", "pixel_logits", "probabilities", "question", "region", "several",
    "top", "top_indices", "value", "written",
]  # fmt: skip
