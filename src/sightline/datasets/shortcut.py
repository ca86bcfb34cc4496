"""The shortcut world: a marker in a corner goes with the label, so strongly as is asked, and says how it was learned.

The nurse and doctor of Grad-CAM (Selvaraju et al., arXiv 1610.02391, section 6.3), whose gender went with
the label in the training set, made countable: a picture is of a cross or of a star, and in a corner lies
a disc, orange or blue. In a share (1 + rho) / 2 of the pictures the disc is of the label's own colour, so
that rho is the correlation of the two: 0 says nothing, 1 tells all. What a model trained on it relies on
is seen from outside, by how much worse it answers once the marker is swapped or absent (`marker`), with
all else in the pictures the same to the pixel; and a map has it right if its evidence on the marker
(`truth="marker"`) grows with that.
"""

from functools import partial

import numpy as np

from sightline.datasets.listed import Listed
from sightline.datasets.painting import Painting, Thing, colour, cover, dice, ground, placed
from sightline.datasets.scenes import Scene, check, scenes, titled
from sightline.datasets.shapes import CIRCLE, FILLED
from sightline.errors import DataError

CLASSES = ("cross", "star")
COLOURS = ((0.95, 0.55, 0.1), (0.15, 0.45, 0.95))  # of the marker that goes with each class
NAMED = ("orange", "blue")  # those colours
MARKERS = ("as-trained", "swapped", "absent", "random")
TRUTHS = ("object", "marker")

OBJECT = 0.2, 0.26  # least and largest radius, as shares of the picture's side
DISC, EDGE = 0.09, 0.04  # the marker's radius, and its distance from the picture's edges
SMALLEST = 48


def shortcut(
    count: int = 200,
    seed: int = 0,
    split: str = "test",
    rho: float = 0.9,
    marker: str = "as-trained",
    truth: str = "object",
    size: int = 64,
) -> Listed[int]:
    """Pictures of `size` pixels with a cross or a star, and a marker that goes with the label by `rho` (0 to 1).

    `marker` is `as-trained`, `swapped` for the other colour in each picture, `absent`, or `random` for one
    that says nothing; the pictures are the same otherwise. `truth` is where the class is said to be: on the
    object, or on the marker. `Sample.about` says which `marker` a picture has (orange, blue, none), and whether it
    `agrees` with the label (yes, no). Raises DataError for options that can't be drawn.
    """
    check("shortcut", count, split, size, SMALLEST)
    if not 0 <= rho <= 1 or marker not in MARKERS or truth not in TRUTHS or (marker, truth) == ("absent", "marker"):
        raise DataError(
            f"shortcut of rho={rho}, marker={marker}, truth={truth}; expected rho of 0 to 1, a marker "
            f"{', '.join(MARKERS)}, and truth on the object, or on the marker where there is one"
        )
    name = titled("shortcut", split=split, seed=seed, rho=rho, marker=marker, truth=truth, size=size)
    draw = partial(_drawn, split=split, seed=seed, rho=rho, marker=marker, truth=truth, size=size)
    about = partial(_about, split=split, seed=seed, rho=rho, marker=marker)
    return scenes(name, f"shortcut-{split}", count, draw, about=about)


def cast(place: int, split: str, seed: int, rho: float, marker: str) -> tuple[int, int | None]:
    """The class of a place, and the class that its marker goes with, if there is one."""
    block, nth = divmod(place, len(CLASSES))
    label = int(dice("shortcut", split, seed, "block", block).permutation(len(CLASSES))[nth])
    trained, chance = dice("shortcut", split, seed, place, "marker").random(2)
    told = trained < (1 + rho) / 2
    match marker:
        case "absent":
            return label, None
        case "swapped":
            told = not told
        case "random":
            told = chance < 1 / 2
    return label, label if told else 1 - label


def scene(place: int, split: str, seed: int, rho: float, marker: str, size: int) -> tuple[Painting, str]:
    """The picture of a place as a painting of an `object` and, where there is one, a `marker`; and its class."""
    label, goes_with = cast(place, split, seed, rho, marker)
    random = dice("shortcut", split, seed, place)
    painting = Painting(ground(random, size))
    disc = cover(size, placed(CIRCLE, _corner(random, size), DISC * size))
    radius, turn = size * random.uniform(*OBJECT), random.uniform(0, 2 * np.pi)
    x, y = size * random.uniform(0.4, 0.6, 2)
    shape = cover(size, placed(FILLED[CLASSES[label]], (x, y), radius, turn))
    things = [Thing("object", shape, colour(random, painting.ground, shape))]
    if goes_with is not None:
        things.append(Thing("marker", disc, np.array(COLOURS[goes_with], dtype=np.float32)))
    return Painting(painting.ground, tuple(things)), CLASSES[label]


def _drawn(place: int, split: str, seed: int, rho: float, marker: str, truth: str, size: int) -> Scene:
    painting, label = scene(place, split, seed, rho, marker, size)
    return painting.picture(), (painting.truth(truth, label),)


def _about(place: int, split: str, seed: int, rho: float, marker: str) -> dict[str, str]:
    label, goes_with = cast(place, split, seed, rho, marker)
    told = "none" if goes_with is None else NAMED[goes_with]
    return {"marker": told, "agrees": "yes" if goes_with == label else "no"}


def _corner(random: np.random.Generator, size: int) -> tuple[float, float]:
    near = (EDGE + DISC) * size
    x, y = random.integers(2, size=2)
    return (size - near if x else near), (size - near if y else near)
