"""Questions of detections: one of the boxes that a person is shown, a class's best one, or a box of one's own."""

import re
from collections.abc import Sequence

from sightline.errors import TargetError
from sightline.geometry import Box
from sightline.posing.regions import NUMBER
from sightline.posing.setting import Posed, Setting
from sightline.targets import box, candidates, detections
from sightline.targets.boxes import matching

SAID = 9  # boxes listed


def numbered(setting: Setting, text: str) -> Posed:
    """`box:2`, counted from 1 in the order of their shares, or `box:X0,Y0,X1,Y1:NAME` in the picture's pixels."""
    if given := re.fullmatch(rf"(-?{NUMBER}(?:,-?{NUMBER}){{3}})(?::(.+))?", re.sub(r"\s*,\s*", ",", text)):
        return _own(setting, [float(part) for part in given[1].split(",")], given[2] or "")
    found = found_boxes(setting)
    if not found:
        raise TargetError("the model finds no box in the picture; ask about one of your own, box:X0,Y0,X1,Y1:NAME")
    if not re.fullmatch(r"\d+", text) or not 1 <= int(text) <= len(found):
        raise TargetError(
            f"no box {text!r}; the model finds {said(setting) or 'none'}; give one's number, or box:X0,Y0,X1,Y1:NAME"
        )
    return _posed(setting, *found[int(text) - 1], name=f"box {text}: ")


def best(setting: Setting, text: str) -> Posed:
    """A class by name or index: its best box. Raises TargetError where none is found."""
    index = setting.model.labels.index(text)
    for where, of, share in found_boxes(setting):
        if of == index:
            return _posed(setting, where, index, share)
    raise TargetError(f"no box of {setting.model.labels[index]!r}; the model finds {said(setting) or 'none'}")


def found_boxes(setting: Setting) -> list[tuple[Box, int, float]]:
    """Boxes in the image, with class and share, highest share first, after suppression."""
    return [(each.box, each.index, each.share) for each in detections(candidates(setting.output))[0]]


def said(setting: Setting) -> str:
    """The boxes, numbered, with class and share."""
    found = found_boxes(setting)
    listed = [f"{place} {setting.model.labels[index]} {share:.2f}" for place, (_, index, share) in enumerate(found, 1)]
    return ", ".join(listed[:SAID]) + (f" and {len(found) - SAID} more" if len(found) > SAID else "")


def _own(setting: Setting, corners: Sequence[float], name: str) -> Posed:
    if corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise TargetError(f"box {corners} has no area; expected X0,Y0,X1,Y1 with X1 > X0 and Y1 > Y0")
    x0, y0 = setting.framing.point_in_image(*corners[:2])
    x1, y1 = setting.framing.point_in_image(*corners[2:])
    width, height = setting.framing.image
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise TargetError(f"box {corners} lies outside what the model sees of the picture")
    found = candidates(setting.output)
    if name:
        index = setting.model.labels.index(name)
    else:
        index = max(range(found.logits.shape[2]), key=lambda each: _share(setting, (x0, y0, x1, y1), each))
    return _posed(setting, (x0, y0, x1, y1), index, _share(setting, (x0, y0, x1, y1), index))


def _share(setting: Setting, where: Box, index: int) -> float:
    found = candidates(setting.output)
    best = matching(found, found.boxes.new_tensor(where), index)
    return float(found.shares[0, best[0], index])


def _posed(setting: Setting, where: Box, index: int, share: float, name: str = "") -> Posed:
    corners = *setting.framing.point_in_picture(*where[:2]), *setting.framing.point_in_picture(*where[2:])
    return Posed(box(where, index), f"{name}{setting.model.labels[index]}", index, share, corners)
