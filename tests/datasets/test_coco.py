"""The reader of COCO's JSON."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import picture, table, text

from sightline.datasets import coco, open_data
from sightline.errors import DataError
from sightline.trials import Known

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
SQUARE = [[2, 3, 7, 3, 7, 9, 2, 9]]


def image(key: Any = 1, name: str = "a.jpg", size: tuple[Any, Any] = (20, 10)) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": size[0], "height": size[1]}


def thing(of: Any = 1, category: Any = 18, **others: Any) -> dict[str, Any]:
    known = {"id": 7, "image_id": of, "category_id": category, "bbox": [2, 3, 5, 6], "segmentation": SQUARE}
    return known | {"iscrowd": 0} | others


def written(root: Path, *things: Any, images: Any = None, split: str = "val", categories: Any = CATEGORIES) -> Path:
    """a.jpg and b.jpg, of 20 x 10 pixels, and what is in them."""
    for name in ("a.jpg", "b.jpg"):
        picture(root / split / name)
    images = [image(), image(2, "b.jpg")] if images is None else images
    content = {"images": images, "annotations": things, "categories": categories}
    return table(root / f"annotations/instances_{split}.json", content)


def ones(mask: Any) -> int:
    return 0 if mask is None else int(mask.sum())


def test_boxes_and_masks(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    written(
        tmp_path, thing(), thing(category=17), thing(bbox=[10, 0, 4.5, 2], segmentation=[[10, 0, 14, 0, 14, 2, 10, 2]])
    )
    data = open_data(tmp_path)
    assert (data.names, data.knows, data.problems) == (("a.jpg", "b.jpg"), {Known.BOXES, Known.MASKS}, ())
    dog, cat = data[0].truths
    assert (dog.label, dog.boxes, cat.label, cat.boxes) == (
        "dog", ((2, 3, 7, 9), (10, 0, 14.5, 2)), "cat", ((2, 3, 7, 9),),
    )  # fmt: skip
    assert dog.mask is not None
    assert cat.mask is not None
    assert (dog.mask.shape, ones(dog.mask), ones(cat.mask), dog.ignore) == ((10, 20), 38, 30, None)
    assert cat.mask[3:9, 2:7].all()
    assert dog.mask[:2, 10:14].all()
    assert data[1].truths == ()


def test_several_polygons_are_one_instance(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    written(tmp_path, thing(segmentation=[*SQUARE, [10, 0, 14, 0, 14, 2, 10, 2], [3, 3, 6, 3, 6, 9, 3, 9]]))
    assert ones(coco(tmp_path)[0].truths[0].mask) == 38


def test_run_lengths(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[3:9, 2:7] = 1
    packed = tools.encode(np.asfortranarray(mask))["counts"].decode()
    plain = [23, *[6, 4] * 4, 6, 131]
    for counts in (packed, plain):
        written(tmp_path, thing(segmentation={"size": [10, 20], "counts": counts}))
        assert (coco(tmp_path)[0].truths[0].mask == mask).all()


def test_run_lengths_need_no_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, thing(segmentation={"size": [10, 20], "counts": [0, 200]}))

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert ones(coco(tmp_path)[0].truths[0].mask) == 200
    written(tmp_path, thing())
    with pytest.raises(DataError, match=r'polygons of COCO need pycocotools; pip install "sightline\[eval\]"'):
        coco(tmp_path)


def runs(*pixels: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of some pixels (x, y)."""
    mask = np.zeros((20, 10), dtype=bool)
    for x, y in pixels:
        mask[x, y] = True
    flips = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    return {"size": [10, 20], "counts": np.diff(flips, prepend=0, append=200).tolist()}


def test_crowds_are_ignored_but_for_instances_in_them(tmp_path: Path) -> None:
    crowd = thing(iscrowd=1, bbox=[0, 0, 20, 10], segmentation=runs((1, 1), (2, 2), (3, 3)))
    written(tmp_path, crowd, thing(segmentation=runs((2, 2), (5, 5))), thing(category=17, segmentation=runs((3, 3))))
    dog, cat = coco(tmp_path)[0].truths
    assert (dog.boxes, dog.difficult, cat.difficult) == (((2, 3, 7, 9),), False, False)
    assert dog.mask is not None
    assert dog.ignore is not None
    assert np.argwhere(dog.mask).tolist() == [[2, 2], [5, 5]]
    assert np.argwhere(dog.ignore).tolist() == [[1, 1], [3, 3]]
    assert cat.ignore is None


def test_only_crowds_are_difficult(tmp_path: Path) -> None:
    written(tmp_path, thing(iscrowd=1, bbox=[0, 0, 20, 10], segmentation=runs((1, 1), (2, 2))))
    (dog,) = coco(tmp_path)[0].truths
    assert (dog.boxes, dog.difficult, ones(dog.mask), ones(dog.ignore)) == (((0, 0, 20, 10),), True, 0, 2)


def test_without_segmentations_boxes_are_known(tmp_path: Path) -> None:
    written(
        tmp_path, thing(segmentation=[]), thing(category=17), {k: v for k, v in thing().items() if k != "segmentation"}
    )
    data = coco(tmp_path)
    assert data.knows == {Known.BOXES}
    assert [(each.mask, len(each.boxes)) for each in data[0].truths] == [(None, 2), (None, 1)]


def test_segmentations_of_half_are_not_read(tmp_path: Path) -> None:
    written(tmp_path, thing(segmentation=runs((1, 1))), thing(segmentation=[]))
    assert coco(tmp_path).knows == {Known.BOXES}
    assert coco(tmp_path)[0].truths[0].mask is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"category_id": 3}, "has category 3; expected one of the 2 in the file"),
        ({"category_id": [18]}, "has category"),
        ({"category_id": None}, "has category"),
        ({"bbox": [1, 2, 3]}, "has bbox"),
        ({"bbox": None}, "has bbox None; expected x, y, width, height"),
        ({"bbox": [1, 2, "x", 4]}, "has 'x' where a finite number"),
        ({"bbox": [1, 2, float("nan"), 4]}, "has nan where a finite number"),
        ({"bbox": [1, 2, 0, 4]}, "no width or no height"),
        ({"bbox": [1, 2, 3, -4]}, "no width or no height"),
        ({"bbox": [20, 2, 3, 4]}, "outside the picture"),
        ({"iscrowd": 2}, "has iscrowd 2; expected 0 or 1"),
        ({"iscrowd": []}, "has iscrowd"),
        ({"segmentation": []}, "has no segmentation, as most have"),
        ({"segmentation": None}, "has no segmentation, as most have"),
        ({"segmentation": "x"}, "has no segmentation, as most have"),
        ({"segmentation": [[1, 2, 3, 4]]}, "has the polygon [1, 2, 3, 4]; expected x, y of three points or more"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "has the polygon"),
        ({"segmentation": [3]}, "has the polygon 3"),
        ({"segmentation": [*SQUARE, {}]}, "has the polygon {}"),
        ({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}, "has nan where a finite number"),
        ({"segmentation": [[1, 2, 1e300, 4, 5, 6]]}, "has a polygon far outside of its 20 x 10 pixels"),
        ({"segmentation": [[1, 2, 3, 21, 5, 6]]}, "has a polygon far outside of its 20 x 10 pixels"),
        ({"segmentation": [[1, 2, 3, -11, 5, 6]]}, "has a polygon far outside of its 20 x 10 pixels"),
        ({"segmentation": {"size": [20, 10], "counts": [200]}}, "has a mask of [20, 10]; expected [10, 20]"),
        ({"segmentation": {"size": [10, 20], "counts": [199]}}, "run lengths that don't fill 20 x 10"),
        ({"segmentation": {"size": [10, 20]}}, "run lengths that don't fill 20 x 10"),
        ({"segmentation": {"counts": [200]}}, "has a mask of None"),
    ],
)
def test_an_annotation_that_is_malformed_leaves_its_picture_out(tmp_path: Path, wrong: Any, told: str) -> None:
    pytest.importorskip("pycocotools")
    written(tmp_path, thing(), thing(id=99) | wrong, thing(of=2), thing(of=2))
    data = coco(tmp_path)
    with pytest.raises(DataError, match=r"instances_val\.json, annotation 99 has") as error:
        data[0]
    assert told in str(error.value)
    assert ones(data[1].truths[0].mask) == 30


def test_what_sticks_out_is_cut(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    written(tmp_path, thing(bbox=[-5, -3, 100, 5], segmentation=[[-19, -9, 39, -9, 39, 2, -19, 2]]))
    (dog,) = coco(tmp_path)[0].truths
    assert (dog.boxes, ones(dog.mask)) == (((0, 0, 20, 2),), 40)


@pytest.mark.parametrize("size", [(10, 20), (20, 11), ("x", 10), (None, 10), (20, float("inf"))])
def test_a_picture_of_another_size(tmp_path: Path, size: tuple[Any, Any]) -> None:
    written(tmp_path, images=[image(size=size)])
    with pytest.raises(DataError, match=r"instances_val\.json(, image a\.jpg, (width|height)| says that a\.jpg) has"):
        coco(tmp_path)[0]


def test_what_belongs_to_nothing_is_named(tmp_path: Path) -> None:
    images = [
        image(),
        image(2, "none.jpg"),
        image(1, "b.jpg"),
        image(3, "a.jpg"),
        {"id": 4},
        5,
        image([6]),
        image(7, ""),
    ]
    images += [image(8, "x" * 300), image(9, "\ud800.jpg")]
    written(tmp_path, thing(), thing(of=77), thing(of=[1]), "x", thing(of=2), images=images)
    data = coco(tmp_path)
    assert data.names == ("a.jpg",)
    told = [line.replace(f"{tmp_path}/", "") for line in data.problems]
    expected = [
        "image {'id': 4} can't be read; expected an id and a file_name", "image 5 can't be read", "can't be read",
        "can't be read", "can't be read", "image 1 is there twice; only the first is read", "is of no image in it",
        "is of no image in it", "annotation 'x' is of no image in it",
        "val/none.jpg is missing; annotations/instances_val.json has 1 objects in it", "is missing",
        "image 3 is val/a.jpg, as another is; only the first is read",
    ]  # fmt: skip
    assert len(told) == len(expected)
    for part in expected:
        assert any(part in line for line in told), part
    for line in told:
        line.encode()


def test_categories_that_are_malformed(tmp_path: Path) -> None:
    written(tmp_path, thing(), thing(of=2, category=3), categories=[*CATEGORIES, {"id": 3}, {"id": 18, "name": "ox"}])
    data = coco(tmp_path)
    assert "category {'id': 3} can't be read; expected an id and a name" in data.problems[0]
    assert "category 18 is there twice; only the first is read" in data.problems[1]
    assert data[0].truths[0].label == "dog"
    with pytest.raises(DataError, match="has category 3; expected one of the 2"):
        data[1]


def test_splits(tmp_path: Path) -> None:
    path = written(tmp_path, thing())
    assert coco(tmp_path, split="val").name == f"{tmp_path} val"
    assert coco(tmp_path).name == str(tmp_path)
    written(tmp_path, thing(), images=[image()], split="train")
    assert (len(coco(tmp_path, split="val")), len(coco(tmp_path, split="train"))) == (2, 1)
    with pytest.raises(DataError, match="has more than one split; choose of: train, val"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="has no split 'test'; choose of: train, val"):
        coco(tmp_path, split="test")
    assert len(open_data(path)) == 2
    with pytest.raises(DataError, match="is one split's file; give its folder to choose 'val'"):
        coco(path, split="val")
    with pytest.raises(DataError, match=r"has no annotations/instances_\*\.json"):
        coco(tmp_path / "val")


@pytest.mark.parametrize("home", ["val", "images/val", "images", ".", "annotations"])
def test_where_pictures_may_be(tmp_path: Path, home: str) -> None:
    written(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / home).mkdir(exist_ok=True, parents=True)
        (tmp_path / "val" / name).rename(tmp_path / home / name)
    assert len(coco(tmp_path)) == 2
    (tmp_path / home / "a.jpg").unlink()
    assert coco(tmp_path).names == ("b.jpg",)
    (tmp_path / home / "b.jpg").unlink()
    with pytest.raises(DataError, match=rf"none of its 2 pictures is in {tmp_path}/val, {tmp_path}/images/val, "):
        coco(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "[" * 100_000, "9" * 5000, '{"images": [], "annotations": [], "categories": {}}', "\x00"],
    ids=range(8),
)
def test_a_file_that_is_none(tmp_path: Path, content: str) -> None:
    text(tmp_path / "annotations/instances_val.json", content)
    with pytest.raises(DataError, match=r"instances_val\.json (can't be read|has no lists)"):
        coco(tmp_path)


def test_no_pictures(tmp_path: Path) -> None:
    written(tmp_path, images=[])
    with pytest.raises(DataError, match="none of its 0 pictures"):
        coco(tmp_path)


def test_coco_sample_as_json(data: Path, tmp_path: Path) -> None:
    """Real masks, packed by pycocotools and read again, are those that the reader of VOC reads."""
    tools = pytest.importorskip("pycocotools.mask")
    same = open_data(data / "coco_sample", split="val2017")
    names = json.loads((data / "coco_sample/classes.json").read_text())
    images, things = [], []
    for place in range(0, len(same), 4):
        sample = same[place]
        images.append(image(place, f"{sample.name}.jpg", sample.picture.size))
        for truth in sample.truths:
            assert truth.mask is not None
            packed = tools.encode(np.asfortranarray(truth.mask.astype(np.uint8)))
            outline = {"size": packed["size"], "counts": packed["counts"].decode()}
            x0, y0, x1, y1 = truth.boxes[0]
            things.append(thing(place, names.index(truth.label), bbox=[x0, y0, x1 - x0, y1 - y0], segmentation=outline))
    (tmp_path / "images").symlink_to(data / "coco_sample/JPEGImages")
    categories = [{"id": index, "name": name} for index, name in enumerate(names)]
    written(tmp_path, *things, images=images, categories=categories, split="real")
    found = open_data(tmp_path)
    assert (len(found), found.problems) == (10, ())
    for place in range(len(found)):
        here, there = found[place], same[place * 4]
        assert [truth.label for truth in here.truths] == [truth.label for truth in there.truths]
        for truth, other in zip(here.truths, there.truths):
            assert (truth.mask == other.mask).all()
            assert truth.boxes == other.boxes[:1]
