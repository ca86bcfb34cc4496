"""The reader of ImageNet's XML: pictures and annotations in their places, sizes, and the convention of boxes."""

from pathlib import Path

import pytest
from folders import annotation, picture, text, thing

from sightline.datasets import imagenet, open_data
from sightline.datasets.imagenet import is_imagenet
from sightline.errors import DataError
from sightline.trials import Known

TENCH = "n01440764"
NAME = "ILSVRC2012_val_00000293"


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [
        ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val"),
        ("Annotations/CLS-LOC/val", f"Data/CLS-LOC/val/{TENCH}"),
        ("Annotations/val", "val"),
        ("Annotations", "val"),
        ("Annotations", f"val/{TENCH}"),
        (f"Annotations/val/{TENCH}", f"images/val/{TENCH}"),
        ("Annotations", "images"),
    ],
)
def test_pictures_and_annotations_find_each_other(tmp_path: Path, annotations: str, pictures: str) -> None:
    picture(tmp_path / pictures / f"{NAME}.JPEG")
    annotation(tmp_path / annotations / f"{NAME}.xml", thing(TENCH, 3, 4, 7, 9), thing(TENCH, 0, 0, 19, 9))
    data = open_data(tmp_path)
    assert (data.names, data.knows, data.problems) == ((NAME,), {Known.BOXES}, ())
    (truth,) = data[0].truths
    assert (truth.label, truth.boxes) == (TENCH, ((3, 4, 8, 10), (0, 0, 20, 10)))


def test_a_resized_picture_scales_its_boxes(tmp_path: Path) -> None:
    picture(tmp_path / f"val/{NAME}.JPEG", (20, 20))
    annotation(tmp_path / f"Annotations/{NAME}.xml", thing(TENCH, 4, 10, 7, 39), size=(10, 40))
    assert imagenet(tmp_path)[0].truths[0].boxes == ((8, 5, 16, 20),)


def test_the_picture_is_meant_where_no_size_is_told(tmp_path: Path) -> None:
    picture(tmp_path / f"val/{NAME}.JPEG")
    annotation(tmp_path / f"Annotations/{NAME}.xml", thing(TENCH, 3, 4, 7, 90), size=None)
    assert imagenet(tmp_path)[0].truths[0].boxes == ((3, 4, 8, 10),)


def test_a_picture_turned_against_its_annotation_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / f"val/{NAME}.JPEG")
    annotation(tmp_path / f"Annotations/{NAME}.xml", thing(TENCH, 3, 4, 7, 9), size=(10, 20))
    with pytest.raises(DataError, match=rf"{NAME}\.xml is of 10 x 20 pixels, and .*{NAME}\.JPEG has 20 x 10; turn"):
        imagenet(tmp_path)[0]


def test_a_square_picture_is_not_turned(tmp_path: Path) -> None:
    picture(tmp_path / f"val/{NAME}.JPEG", (10, 10))
    annotation(tmp_path / f"Annotations/{NAME}.xml", thing(TENCH, 3, 4, 7, 8), size=(10, 10))
    assert imagenet(tmp_path)[0].truths[0].boxes == ((3, 4, 8, 9),)


def test_what_lacks_its_other_half_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"val/{name}.JPEG")
    for name in ("a", "c"):
        annotation(tmp_path / f"Annotations/{name}.xml")
    data = imagenet(tmp_path)
    assert data.names == ("a",)
    assert "val/b.JPEG has no annotation in" in data.problems[0]
    assert "Annotations/c.xml has no picture in" in data.problems[1]
    assert len(data.problems) == 2


def test_two_of_one_name_are_both_left_out(tmp_path: Path) -> None:
    for name in ("n1/a", "n2/a", "n1/b"):
        picture(tmp_path / f"val/{name}.JPEG")
    for name in ("a", "b"):
        annotation(tmp_path / f"Annotations/{name}.xml")
    data = imagenet(tmp_path)
    assert data.names == ("b",)
    assert "are both 'a', so neither is read" in data.problems[0]


def test_what_is_malformed_is_named_when_it_is_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"val/{name}.JPEG")
    annotation(tmp_path / "Annotations/a.xml", thing(TENCH, 9, 4, 3, 9))
    text(tmp_path / "Annotations/b.xml", "<annotation")
    annotation(tmp_path / "Annotations/c.xml", thing(TENCH, 3, 4, 7, 9))
    data = imagenet(tmp_path)
    for place, told in enumerate([rf"a\.xml, {TENCH} has the box 9, 4, 3, 9", r"b\.xml can't be read"]):
        with pytest.raises(DataError, match=told):
            data[place]
    assert data[2].truths[0].boxes == ((3, 4, 8, 10),)


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [("Annotations/CLS-LOC", "Data/CLS-LOC"), ("Annotations", "."), ("Annotations", "images")],
)
def test_another_split(tmp_path: Path, annotations: str, pictures: str) -> None:
    for split in ("train", "val"):
        picture(tmp_path / pictures / f"{split}/{split}.JPEG")
        annotation(tmp_path / annotations / f"{split}/{split}.xml")
    assert (imagenet(tmp_path).names, imagenet(tmp_path).problems) == (("val",), ())
    assert (imagenet(tmp_path, split="train").names, imagenet(tmp_path, split="train").name) == (
        ("train",),
        f"{tmp_path} train",
    )


def test_a_split_that_is_none(tmp_path: Path) -> None:
    picture(tmp_path / "val/a.JPEG")
    annotation(tmp_path / "Annotations/a.xml")
    with pytest.raises(DataError, match=r"no folder .*Data/CLS-LOC/test, .*expected one of them, as ImageNet has"):
        imagenet(tmp_path, split="test")


def test_no_annotations(tmp_path: Path) -> None:
    picture(tmp_path / "val/a.JPEG")
    with pytest.raises(DataError, match="no folder .*Annotations"):
        imagenet(tmp_path)
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match=r"no picture that can be judged: .*val/a\.JPEG has no annotation"):
        imagenet(tmp_path)


@pytest.mark.parametrize(
    ("name", "fits"), [(f"{NAME}.xml", True), (f"{TENCH}_10.xml", True), ("dog.xml", False), ("n1.xml", False)]
)
def test_its_annotations_are_known_by_their_names(tmp_path: Path, name: str, fits: bool) -> None:
    assert not is_imagenet(tmp_path)
    annotation(tmp_path / "Annotations/val" / name)
    assert is_imagenet(tmp_path) == fits
    (tmp_path / "JPEGImages").mkdir()
    assert not is_imagenet(tmp_path)


def test_ends_may_be_set(tmp_path: Path) -> None:
    picture(tmp_path / f"val/{NAME}.JPEG")
    annotation(tmp_path / f"Annotations/{NAME}.xml", thing(TENCH, 3, 4, 7, 9))
    assert open_data(tmp_path, layout="imagenet:ends=edges")[0].truths[0].boxes == ((3, 4, 7, 9),)
