"""The methods, in the order in which one would teach them."""

import difflib

from sightline.errors import MethodError
from sightline.methods.cam import cam
from sightline.methods.eigen_cam import eigen_cam
from sightline.methods.grad_cam import grad_cam
from sightline.methods.grad_cam_plus_plus import grad_cam_plus_plus
from sightline.methods.hires_cam import hires_cam
from sightline.methods.layer_cam import layer_cam
from sightline.methods.xgrad_cam import xgrad_cam
from sightline.types import Kind, Method

METHODS = (
    Method("grad-cam", grad_cam, "arXiv 1610.02391", "where the score's gradient and the activations agree"),
    Method("cam", cam, "arXiv 1512.04150", "the linear head's own weights", signed=True, linear_head=True),
    Method("grad-cam++", grad_cam_plus_plus, "arXiv 1710.11063", "as Grad-CAM, for several objects of one class"),
    Method("xgrad-cam", xgrad_cam, "arXiv 2008.02312", "as Grad-CAM, weighted by where channels are active"),
    Method("layer-cam", layer_cam, "doi 10.1109/TIP.2021.3089943", "cell by cell, sharp in early layers"),
    Method("hires-cam", hires_cam, "arXiv 2011.08891", "cell by cell, sums to the score", signed=True),
    Method("eigen-cam", eigen_cam, "arXiv 2008.00299", "the strongest direction of the activations",
           kind=Kind.ACTIVATION, signed=True, discriminative=False, backwards=0),
)  # fmt: skip


def method(name: str | Method) -> Method:
    """The method of a name, as people write it: `grad-cam`, `Grad-CAM++`, `layer_cam`, `gradcam`.

    Raises MethodError, with the nearest names.
    """
    if isinstance(name, Method):
        return name
    plain = {_plain(row.name): row for row in METHODS}
    if (found := plain.get(_plain(name))) is not None:
        return found
    near = difflib.get_close_matches(_plain(name), plain, n=3) or list(plain)
    raise MethodError(f"no method {name!r}; nearest: {', '.join(repr(plain[n].name) for n in near)}")


def _plain(name: str) -> str:
    return name.casefold().translate({ord(c): None for c in "-_ "}).replace("plusplus", "++")
