"""The reader of PASCAL VOC: boxes, masks, splits, and what is wrong with them, by name."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from folders import annotation, indices, picture, table, text, thing
from PIL import Image

from sightline.datasets import Ends, open_data, voc
from sightline.errors import DataError, PictureError
from sightline.trials import Known


def with_pictures(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / f"JPEGImages/{name}.jpg")
        annotation(root / f"Annotations/{name}.xml", thing("dog", 3, 4, 7, 9), thing("cat", 1, 1, 20, 10))
    return root


def drawn(root: Path, name: str) -> Path:
    """A mask with a dog (12), a cat (8) around it, and a border to be ignored."""
    rows = np.full((10, 20), 8)
    rows[3:9, 2:7] = 12
    rows[9] = 255
    return indices(root / f"SegmentationClass/{name}.png", rows)


def test_boxes_count_from_one(tmp_path: Path) -> None:
    data = voc(with_pictures(tmp_path, "b", "a"))
    assert (list(data.names), data.knows, data.problems, len(data)) == (["a", "b"], {Known.BOXES}, (), 2)
    sample = data[1]
    assert (sample.name, sample.picture.size) == ("b", (20, 10))
    assert [(each.label, each.boxes, each.mask) for each in sample.truths] == [
        ("dog", ((2, 3, 7, 9),), None),
        ("cat", ((0, 0, 20, 10),), None),
    ]


def test_ends_may_be_another_tools(tmp_path: Path) -> None:
    data = voc(with_pictures(tmp_path, "a"), ends=Ends.EDGES)
    assert data[0].truths[0].boxes == ((3, 4, 7, 9),)
    named = open_data(tmp_path, layout="voc:ends=from-zero")
    assert named[0].truths[0].boxes == ((3, 4, 8, 10),)
    assert named.name.endswith(" voc:ends=from-zero")


def test_masks_and_what_is_ignored(tmp_path: Path) -> None:
    drawn(with_pictures(tmp_path, "a"), "a")
    data = voc(tmp_path)
    assert data.knows == {Known.BOXES, Known.MASKS}
    dog, cat = data[0].truths
    assert dog.mask is not None
    assert cat.mask is not None
    assert dog.ignore is not None
    assert cat.ignore is not None
    assert (dog.mask.sum(), cat.mask.sum(), dog.ignore.sum()) == (30, 9 * 20 - 30, 20)
    assert dog.mask[3:9, 2:7].all()
    assert (cat.ignore == dog.ignore).all()
    assert dog.ignore[9].all()
    assert dog.boxes == ((2, 3, 7, 9),)


def test_masks_may_be_left_out(tmp_path: Path) -> None:
    drawn(with_pictures(tmp_path, "a"), "a")
    data = voc(tmp_path, masks=False)
    assert data.knows == {Known.BOXES}
    assert data[0].truths[0].mask is None
    with pytest.raises(DataError, match="masks is 'no'; expected True, False, or None"):
        open_data(tmp_path, layout="voc:masks=no")


def test_a_class_hidden_behind_others_has_no_pixel(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    indices(tmp_path / "SegmentationClass/a.png", np.full((10, 20), 8))
    dog, cat = voc(tmp_path)[0].truths
    assert dog.mask is not None
    assert cat.mask is not None
    assert (dog.mask.sum(), cat.mask.sum(), dog.ignore) == (0, 200, None)


def test_masks_of_half_of_the_pictures_are_not_read(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a", "b", "c", "d")
    drawn(tmp_path, "a")
    drawn(tmp_path, "b")
    assert voc(tmp_path).knows == {Known.BOXES}
    assert voc(tmp_path)[0].truths[0].mask is None
    drawn(tmp_path, "c")
    data = voc(tmp_path)
    assert data.knows == {Known.BOXES, Known.MASKS}
    assert data[2].truths[0].mask is not None
    with pytest.raises(DataError, match=r"SegmentationClass/d\.png is missing; most pictures"):
        data[3]


def test_masks_of_a_split(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a", "b", "c", "d")
    drawn(tmp_path, "c")
    text(tmp_path / "ImageSets/Segmentation/val.txt", "c\n")
    text(tmp_path / "ImageSets/Main/val.txt", "b\nc\nd\n")
    assert voc(tmp_path).knows == voc(tmp_path, split="val").knows == {Known.BOXES}
    assert voc(tmp_path, split="Segmentation/val").knows == {Known.BOXES, Known.MASKS}
    assert voc(tmp_path, masks=True).knows == {Known.BOXES, Known.MASKS}


def test_other_names_of_indices(tmp_path: Path) -> None:
    drawn(with_pictures(tmp_path, "a"), "a")
    names = [f"class {index}" for index in range(1, 21)]
    names[11], names[7] = "cat", "dog"
    table(tmp_path / "classes.json", names)
    dog, cat = voc(tmp_path)[0].truths
    assert dog.mask is not None
    assert cat.mask is not None
    assert (cat.mask.sum(), dog.mask.sum()) == (30, 150)


def test_a_mask_of_other_classes_than_the_boxes(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    indices(tmp_path / "SegmentationClass/a.png", np.full((10, 20), 1))
    with pytest.raises(DataError, match=r"a\.png shows aeroplane, of which a\.xml has no object"):
        voc(tmp_path)[0]


def test_a_class_that_no_index_stands_for(tmp_path: Path) -> None:
    drawn(with_pictures(tmp_path, "a"), "a")
    table(tmp_path / "classes.json", [f"class {index}" for index in range(12)])
    with pytest.raises(DataError, match=r"a\.xml: no index of the masks is named 'cat'; see classes\.txt"):
        voc(tmp_path)[0]


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    indices(tmp_path / "SegmentationClass/a.png", np.full((20, 10), 8))
    with pytest.raises(DataError, match=r"a\.png has 10 x 20 pixels and its picture 20 x 10"):
        voc(tmp_path)[0]


def test_difficult_only_where_all_are(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/a.jpg")
    annotation(
        tmp_path / "Annotations/a.xml",
        thing("dog", 3, 4, 7, 9, difficult="1"), thing("dog", 1, 1, 2, 2), thing("cat", 1, 1, 2, 2, difficult="1"),
    )  # fmt: skip
    dog, cat = voc(tmp_path)[0].truths
    assert (dog.difficult, cat.difficult) == (False, True)
    assert dog.boxes == ((2, 3, 7, 9), (0, 0, 2, 2))


@pytest.mark.parametrize(
    ("corners", "told"),
    [
        ((7, 4, 3, 9), "no width or no height"),
        ((3, 9, 7, 4), "no width or no height"),
        ((21, 4, 25, 9), "outside the picture"),
        (("nan", 4, 7, 9), "'nan' where a finite number"),
        (("", 4, 7, 9), "'' where a finite number"),
    ],
)
def test_a_box_that_is_malformed(tmp_path: Path, corners: tuple[object, ...], told: str) -> None:
    data = voc(with_pictures(tmp_path, "a"))
    annotation(tmp_path / "Annotations/a.xml", thing("cat", 1, 1, 5, 5), thing("dog", *corners))
    with pytest.raises(DataError, match=rf"Annotations/a\.xml, dog has .*{told}"):
        data[0]


def test_a_box_partly_outside_is_cut(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/a.jpg")
    annotation(tmp_path / "Annotations/a.xml", thing("dog", 0, -4, 700, 9))
    assert voc(tmp_path)[0].truths[0].boxes == ((0, 0, 20, 9),)


def test_an_annotation_of_another_size(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/a.jpg")
    annotation(tmp_path / "Annotations/a.xml", size=(10, 20))
    with pytest.raises(DataError, match=r"a\.xml is of 10 x 20 pixels, and .*a\.jpg has 20 x 10; expected the picture"):
        voc(tmp_path)[0]
    annotation(tmp_path / "Annotations/a.xml", size=None)
    assert voc(tmp_path)[0].truths == ()


def test_what_lacks_its_other_half_is_named_and_left_out(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    picture(tmp_path / "JPEGImages/b.jpg")
    annotation(tmp_path / "Annotations/c.xml")
    data = voc(tmp_path)
    assert data.names == ("a",)
    assert len(data.problems) == 2
    assert "Annotations/b.xml is missing" in data.problems[0]
    assert "Annotations/c.xml has no picture in" in data.problems[1]


def test_two_pictures_of_one_name_are_both_left_out(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a", "b")
    picture(tmp_path / "JPEGImages/a.png")
    data = voc(tmp_path)
    assert data.names == ("b",)
    assert "a.jpg and" in data.problems[0]
    assert "are both 'a', so neither is read" in data.problems[0]


def test_what_breaks_one_picture_leaves_the_others(tmp_path: Path) -> None:
    data = voc(with_pictures(tmp_path, "a", "b", "c", "d"))
    text(tmp_path / "Annotations/a.xml", "<annotation>")
    (tmp_path / "JPEGImages/b.jpg").write_bytes(b"")
    (tmp_path / "Annotations/c.xml").unlink()
    for place, told in enumerate([r"a\.xml can't be read", r"b\.jpg: empty", r"c\.xml can't be read"]):
        with pytest.raises((DataError, PictureError), match=told):
            data[place]
    assert len(data[3].truths) == 2


def test_nothing_is_decoded_when_it_is_opened(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    for path in ("JPEGImages/a.jpg", "Annotations/a.xml", "SegmentationClass/a.png"):
        text(tmp_path / path, "broken")
    assert voc(tmp_path).problems == ()


def test_a_split_is_found_in_main_before_segmentation(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a", "b", "c")
    text(tmp_path / "ImageSets/Segmentation/val.txt", "a\n")
    assert voc(tmp_path, split="val").names == ("a",)
    text(tmp_path / "ImageSets/Main/val.txt", "c\r\nb\r\n\r\n")
    assert voc(tmp_path, split="val").names == ("c", "b")
    assert voc(tmp_path, split="Segmentation/val").names == ("a",)
    text(tmp_path / "ImageSets/val.txt", "b")
    assert voc(tmp_path, split="val").names == ("b",)
    assert voc(tmp_path, split="val").name == f"{tmp_path} val"


def test_a_classes_split_lists_the_pictures_that_show_it(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a", "b", "c")
    text(tmp_path / "ImageSets/Main/dog_val.txt", "a -1\nb  1\nc  0\n")
    assert voc(tmp_path, split="dog_val").names == ("b", "c")


def test_a_name_may_have_spaces(tmp_path: Path) -> None:
    with_pictures(tmp_path, "my dog")
    text(tmp_path / "ImageSets/val.txt", "my dog\n")
    assert voc(tmp_path, split="val").names == ("my dog",)


def test_a_split_that_lists_what_is_not_there(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    picture(tmp_path / "JPEGImages/b.jpg")
    text(tmp_path / "ImageSets/val.txt", "a\nb\nnothing\na\n")
    data = voc(tmp_path, split="val")
    assert data.names == ("a",)
    assert [line.partition(" ")[0].rpartition("/")[2] for line in data.problems] == ["val.txt,", "b.xml", "nothing.xml"]
    assert data.problems[0].endswith("val.txt, line 4: a is listed twice")


def test_a_split_that_is_none(tmp_path: Path) -> None:
    with_pictures(tmp_path, "a")
    with pytest.raises(DataError, match=r"ImageSets has no split 'val'; there are: none"):
        voc(tmp_path, split="val")
    text(tmp_path / "ImageSets/Main/train.txt", "nothing")
    with pytest.raises(DataError, match=r"has no split 'val'; there are: Main/train"):
        voc(tmp_path, split="val")
    with pytest.raises(DataError, match=r"train has no picture that can be judged: .*nothing\.xml is missing"):
        voc(tmp_path, split="train")
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"train\.txt can't be read"):
        voc(tmp_path, split="train")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    annotation(tmp_path / "Annotations/a.xml")
    with pytest.raises(DataError, match="JPEGImages"):
        voc(tmp_path)


SPLITS = {"coco128": (103, 817, 309), "train2017": (40, 380, 168), "val2017": (40, 333, 113)}


@pytest.mark.parametrize("split", [*SPLITS])
def test_coco_sample(data: Path, split: str) -> None:
    """All of it can be read, and masks reach as far as their class's boxes, which count from one."""
    found = open_data(data / "coco_sample", split=split)
    assert (found.problems, found.knows) == ((), {Known.BOXES, Known.MASKS})
    truths = [truth for place in range(len(found)) for truth in found[place].truths]
    assert (len(found), sum(len(truth.boxes) for truth in truths), len(truths)) == SPLITS[split]
    off, left = [], Counter[float]()
    for truth in truths:
        assert truth.mask is not None
        rows, columns = np.flatnonzero(truth.mask.any(1)), np.flatnonzero(truth.mask.any(0))
        shown = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        told = np.array(truth.boxes)
        off.append(np.abs([*told[:, :2].min(0), *told[:, 2:].max(0)] - shown).max())
        if len(told) == 1:
            left[told[0, 0] - shown[0]] += 1
    assert np.mean(np.array(off) <= 1) > 0.92
    assert left[0] > 0.97 * left.total()


def test_coco_samples_splits_are_all_of_it(data: Path) -> None:
    every = open_data(data / "coco_sample")
    parts = [name for split in SPLITS for name in open_data(data / "coco_sample", split=split).names]
    assert (len(every), sorted(parts), every.problems) == (183, list(every.names), ())
    assert open_data(data / "coco_sample", layout="voc:masks=False").knows == {Known.BOXES}


def test_coco_samples_masks_again_without_the_reader(data: Path) -> None:
    names = json.loads((data / "coco_sample/classes.json").read_text())
    found = open_data(data / "coco_sample")
    for place in range(0, len(found), 20):
        sample = found[place]
        root = ET.parse(data / f"coco_sample/Annotations/{sample.name}.xml").getroot()
        assert {each.text for each in root.findall("object/name")} == {truth.label for truth in sample.truths}
        with Image.open(data / f"coco_sample/SegmentationClass/{sample.name}.png") as image:
            rows = np.asarray(image)
        for truth in sample.truths:
            assert truth.mask is not None
            assert (truth.mask == (rows == names.index(truth.label) + 1)).all()
            assert (truth.ignore is not None) == bool((rows == 255).any())


def test_bccd(data: Path) -> None:
    found = open_data(data / "bccd")
    truths = [truth for place in range(len(found)) for truth in found[place].truths]
    assert (len(found), sum(len(truth.boxes) for truth in truths), found.problems) == (292, 3922, ())
    assert {truth.label for truth in truths} == {"RBC", "WBC", "Platelets"}
    assert found.knows == {Known.BOXES}
    assert len(open_data(data / "bccd", split="all")) == 292
