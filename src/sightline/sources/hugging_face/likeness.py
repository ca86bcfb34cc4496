"""CLIP and SigLIP: embeddings of images, and of sentences in the same space."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sightline.engine import Adapted, answered
from sightline.errors import TargetError
from sightline.model import Model, Task
from sightline.sources.hugging_face.place import Place


def with_texts(model: Model, module: Any, place: Place) -> Model:
    """A model that gives projected image embeddings (N, D), and of a sentence the projected embedding (D,)."""
    texts = Texts(module, place.tokenizer())
    return replace(model, module=Adapted(module, _image_embeddings), task=Task.LIKENESS, texts=texts)


@dataclass(frozen=True)
class Texts:
    """A sentence -> its embedding (D,), without a graph. Raises TargetError for one that is too long."""

    module: Any
    tokenizer: Any

    def __call__(self, sentence: str) -> Tensor:
        config = self.module.config
        most = config.text_config.max_position_embeddings
        # SigLIP was trained on sentences padded to their full length, and reads them in no other way.
        padding = {"padding": "max_length", "max_length": most} if config.model_type.startswith("siglip") else {}
        tokens = self.tokenizer(sentence, **padding).input_ids
        if len(tokens) > most:
            raise TargetError(f"the sentence has {len(tokens)} tokens and the model reads {most}; shorten it")
        ids = torch.tensor([tokens], device=next(self.module.parameters()).device)
        found: Tensor = answered(Adapted(self.module, _text_embeddings), ids)[0]
        return found


def _image_embeddings(module: Any, image: Tensor) -> Tensor:
    found: Tensor = module.get_image_features(pixel_values=image).pooler_output
    return found


def _text_embeddings(module: Any, ids: Tensor) -> Tensor:
    found: Tensor = module.get_text_features(input_ids=ids).pooler_output
    return found
