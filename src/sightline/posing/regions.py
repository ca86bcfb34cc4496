"""Questions of a segmentation: a class where the model sees it, over a mask, in one piece, or at a pixel."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from sightline.errors import PictureError, TargetError
from sightline.geometry import Box
from sightline.posing.setting import Posed, Setting
from sightline.targets import pixel_logits, region
from sightline.targets.regions import at_size

BACKGROUND = ("background", "__background__", "unlabeled", "void")
NUMBER = r"\d+(?:\.\d+)?"
LISTED = 0.01  # of the cells, from which a class is worth naming


def whole(setting: Setting, text: str) -> Posed:
    """A class by name or index, over all cells where it is the model's first choice; over the image if nowhere."""
    index = setting.model.labels.index(text)
    seen = _seen(setting)
    if not 0 <= index < pixel_logits(setting.output).shape[1]:
        raise TargetError(f"no class {index}: the model has {pixel_logits(setting.output).shape[1]} classes")
    mask = seen == index
    return _posed(setting, mask if mask.any() else torch.ones_like(mask), index)


def masked(setting: Setting, text: str) -> Posed:
    """`region:MASK.png` or `region:MASK.png:NAME`: a class over a mask of the picture's size, by default the class
    that the model sees most of there."""
    file, _, name = text.rpartition(":") if not Path(text).is_file() else (text, "", "")
    whole = _mask(file or text, setting.framing.picture)
    if not whole.any():
        raise TargetError(f"mask {file or text!r} is empty: all of it is 0")
    mask = setting.framing.to_image(whole)
    if not mask.any():
        raise TargetError(f"the model sees nothing of the region {text!r}: it lies outside the image")
    return _over(setting, mask, name, f"in {Path(file or text).name}")


def piece(setting: Setting, text: str) -> Posed:
    """`object:X,Y` or `object:X,Y:NAME`: the connected piece of a class around a pixel of the picture."""
    (x, y), name = _point(text)
    seen = _seen(setting)
    row, column = _cell(setting, x, y, (seen.shape[0], seen.shape[1]))
    index = setting.model.labels.index(name) if name else int(seen[row, column])
    pieces, _ = ndimage.label((seen == index).numpy(), structure=np.ones((3, 3)))
    own = pieces[row, column]
    if not own:
        raise TargetError(
            f"the model sees no {setting.model.labels[index]} at {x:g},{y:g} but "
            f"{setting.model.labels[int(seen[row, column])]}; ask about the pixel, or another place"
        )
    return _posed(setting, torch.from_numpy(pieces == own), index, f"at {x:g},{y:g}")


def dot(setting: Setting, text: str) -> Posed:
    """`pixel:X,Y` or `pixel:X,Y:NAME`: a class at one pixel of the picture."""
    (x, y), name = _point(text)
    size = pixel_logits(setting.output).shape[2:]
    mask = torch.zeros(*size, dtype=torch.bool)
    mask[_cell(setting, x, y, (size[0], size[1]))] = True
    return _over(setting, mask, name, f"at pixel {x:g},{y:g}")


def largest(setting: Setting, count: int) -> list[str]:
    """The classes, background aside, that the model sees most of."""
    named = [index for index, _ in _areas(setting) if setting.model.labels[index].casefold() not in BACKGROUND]
    if not named:
        raise TargetError(f"{setting.model.name} sees only background; name a class to ask what speaks for it")
    return [str(index) for index in named[:count]]


def said(setting: Setting) -> str:
    """What is seen, and on which share of the image."""
    return ", ".join(
        f"{setting.model.labels[index]} {share:.0%}" for index, share in _areas(setting) if share >= LISTED
    )


def _seen(setting: Setting) -> Tensor:
    """The model's first choice (h, w) at each cell."""
    return pixel_logits(setting.output)[0].argmax(0).cpu()


def _areas(setting: Setting) -> list[tuple[int, float]]:
    """The classes seen, each with its share of the cells, largest first."""
    seen = _seen(setting)
    indices, counts = np.unique(seen.numpy(), return_counts=True)
    return [(int(indices[i]), float(counts[i]) / seen.numel()) for i in np.argsort(-counts, kind="stable")]


def _over(setting: Setting, mask: Tensor, name: str, where: str) -> Posed:
    values = pixel_logits(setting.output)[0].cpu()
    weights = at_size(mask, (values.shape[1], values.shape[2]))
    index = setting.model.labels.index(name) if name else int((values.softmax(0) * weights).sum((1, 2)).argmax())
    return _posed(setting, mask, index, where)


def _posed(setting: Setting, mask: Tensor, index: int, where: str = "") -> Posed:
    target = region(mask, index)
    values = pixel_logits(setting.output)[0].float().cpu().softmax(0)[index]
    weights = at_size(mask, (values.shape[0], values.shape[1]))
    share = float((values * weights).sum() / weights.sum())
    box = _around(setting, mask) if where else None
    return Posed(target, f"{setting.model.labels[index]} {where}".strip(), index, share, box)


def _around(setting: Setting, mask: Tensor) -> Box:
    """The box around a mask (h, w) of the image, in the picture's pixels."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    across, down = setting.framing.image[0] / mask.shape[1], setting.framing.image[1] / mask.shape[0]
    x0, y0 = setting.framing.point_in_picture(int(columns[0]) * across, int(rows[0]) * down)
    x1, y1 = setting.framing.point_in_picture((int(columns[-1]) + 1) * across, (int(rows[-1]) + 1) * down)
    return x0, y0, x1, y1


def _point(text: str) -> tuple[tuple[float, float], str]:
    found = re.fullmatch(rf"\s*({NUMBER})\s*,\s*({NUMBER})\s*(?::(.*))?", text)
    if not found:
        raise TargetError(f"{text!r} is no point; expected X,Y in the picture's pixels, as 120,80 or 120,80:cat")
    return (float(found[1]), float(found[2])), (found[3] or "").strip()


def _cell(setting: Setting, x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
    across, down = setting.in_image(x, y)
    width, height = setting.framing.image
    return min(int(down / height * size[0]), size[0] - 1), min(int(across / width * size[1]), size[1] - 1)


def _mask(file: str, picture: tuple[int, int]) -> Tensor:
    """A mask file's pixels that aren't 0. Raises PictureError where it can't be read or has another size."""
    try:
        with Image.open(file) as opened:
            values = np.asarray(opened if opened.mode in ("P", "L", "1", "I;16") else opened.convert("L"))
    except (OSError, ValueError) as error:
        raise PictureError(f"mask {file!r} can't be read ({error}); expected an image, 0 outside the region") from error
    if values.shape != picture[::-1]:
        raise PictureError(
            f"mask {file!r} has {values.shape[1]} x {values.shape[0]} pixels, the picture {picture[0]} x {picture[1]}"
        )
    return torch.from_numpy(values != 0)
