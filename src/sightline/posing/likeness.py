"""Questions of embeddings: how like a sentence, or another picture, a picture is."""

from sightline.engine import answered
from sightline.errors import TargetError
from sightline.images import read_picture
from sightline.posing.setting import Posed, Setting
from sightline.targets import embedding, like


def sentence(setting: Setting, text: str) -> Posed:
    """`text:a red circle`: the cosine with a sentence's embedding."""
    if setting.model.texts is None:
        raise TargetError(f"{setting.model.name} reads no text; compare with a picture: like:OTHER.jpg")
    if not text.strip():
        raise TargetError("'text:' needs a sentence, as in text:a red circle")
    return Posed(like(setting.model.texts(text.strip())), f'"{text.strip()}"')


def picture(setting: Setting, text: str) -> Posed:
    """`like:OTHER.jpg`: the cosine with another picture's embedding."""
    image = setting.model.preprocess(read_picture(text))[None].to(setting.image)
    return Posed(like(embedding(answered(setting.module, image))[0]), f"like {text.rpartition('/')[2]}")
