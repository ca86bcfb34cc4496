"""Exports read back by those who read them: pycocotools, an XML parser, Pillow."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sightline.datasets import open_data
from sightline.datasets.run_lengths import from_runs
from sightline.errors import DataError
from sightline.exports import Found, coco, compressed, listed, palette_png, runs, voc, voc_colours

MASK = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]]) > 0
OLD_NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
NONE = np.zeros_like(MASK)
FOUND = [Found("dog & <cat>", 0.75, MASK, MASK), Found("nothing", 0.1, NONE, NONE)]


def test_runs_go_down_the_columns_and_begin_outside() -> None:
    assert runs(MASK) == [3, 2, 1, 3, 3]
    assert runs(np.zeros((2, 3), dtype=bool)) == [6]
    assert runs(np.ones((2, 3), dtype=bool)) == [0, 6]
    assert runs(np.array([[1, 0], [1, 1]]) > 0) == [0, 2, 1, 1]


def test_compressed_by_hand() -> None:
    assert compressed([3, 2, 1, 3, 3]) == "32112"  # the fourth and fifth less the second and third
    assert compressed([31]) == chr(48 + 63) + chr(48)  # its highest bit set, so nothing must follow as a sign
    assert compressed([0, 40, 1, 8]) == "0" + chr(48 + 8 + 32) + chr(48 + 1) + "1" + chr(48 + 0 + 32) + chr(48 + 31)


@OLD_NUMPY
@pytest.mark.parametrize("seed", range(20))
def test_a_mask_is_read_by_pycocotools(seed: int) -> None:
    coco_masks = pytest.importorskip("pycocotools.mask")
    draw = np.random.default_rng(seed)
    mask = draw.random(draw.integers(1, 80, 2)) < draw.choice([0.01, 0.5, 0.99])
    theirs = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert compressed(runs(mask)) == theirs["counts"].decode()
    read = coco_masks.decode({"size": list(mask.shape), "counts": compressed(runs(mask))})
    assert (read == mask).all()
    plain = coco_masks.frPyObjects({"size": list(mask.shape), "counts": runs(mask)}, *mask.shape)
    assert (coco_masks.decode(plain) == mask).all()


def test_a_coco_row_has_x_y_width_height_and_what_has_no_box_has_none() -> None:
    (row,) = coco(FOUND, 7, [3, 4])
    assert row == {
        "image_id": 7,
        "category_id": 3,
        "bbox": [1, 0, 2, 3],
        "score": 0.75,
        "segmentation": {"size": [3, 4], "counts": "32112"},
    }
    with pytest.raises(ValueError, match="zip"):
        coco(FOUND, 7, [3])


def test_a_coco_rows_segmentation_is_what_is_boxed() -> None:
    two = MASK.copy()
    two[2, 0] = True
    (row,) = coco([Found("dog", 1.0, two, MASK)], 1, [1])
    assert row["segmentation"]["counts"] == "32112"
    assert Found("dog", 1.0, two, MASK).box == (1, 0, 3, 3)


@OLD_NUMPY
def test_pycocotools_loads_and_judges_the_results(tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco_api.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 7, "file_name": "a.jpg", "width": 4, "height": 3}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 0, 2, 3], "area": 5, "iscrowd": 0,
             "segmentation": {"size": [3, 4], "counts": runs(MASK)}},
        ],
    }  # fmt: skip
    truth.createIndex()
    with listed(tmp_path / "coco.json") as add:
        for row in coco(FOUND, 7, [3, 4]):
            add(row)
    results = truth.loadRes(str(tmp_path / "coco.json"))
    (annotation,) = results.loadAnns(results.getAnnIds())
    assert (results.annToMask(annotation) == MASK).all()
    for kind in ("bbox", "segm"):
        judged = cocoeval.COCOeval(truth, results, kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        assert judged.stats[0] == pytest.approx(1.0)


def test_voc_counts_pixels_from_one_and_both_ends() -> None:
    root = ElementTree.fromstring(voc(FOUND, "höme\x00.jpg", (4, 3)))
    assert root.findtext("filename") == "höme?.jpg"
    assert [root.findtext(f"size/{name}") for name in ("width", "height", "depth")] == ["4", "3", "3"]
    (thing,) = root.findall("object")
    assert thing.findtext("name") == "dog & <cat>"
    assert thing.findtext("difficult") == "0"
    assert [thing.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")] == ["2", "1", "3", "3"]


def test_voc_takes_names_that_are_no_text() -> None:
    assert ElementTree.fromstring(voc([], "a\udcffb.jpg", (1, 1))).findtext("filename") == "a?b.jpg"


def test_our_own_readers_read_it_all_back(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    mask = draw.random((30, 20)) < 0.4
    for counts in (runs(mask), compressed(runs(mask))):
        assert (from_runs(counts, (20, 30), "here") == mask).all()
    for name in ("JPEGImages", "Annotations"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "JPEGImages/a.png")
    (tmp_path / "Annotations/a.xml").write_bytes(voc(FOUND, "a.png", (4, 3)))
    data = open_data(tmp_path)
    assert not data.problems
    (truth,) = data[0].truths
    assert (truth.label, truth.boxes, truth.difficult) == ("dog & <cat>", ((1, 0, 3, 3),), False)


def test_the_palette_is_vocs() -> None:
    colours = voc_colours().tolist()
    assert colours[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[8] == [64, 0, 0]
    assert colours[15] == [192, 128, 128]  # person
    assert colours[20] == [0, 64, 128]  # television
    assert colours[255] == [224, 224, 192]
    assert len({tuple(colour) for colour in colours}) == 256


def test_a_palette_png_is_read_back_as_indices(tmp_path: Path) -> None:
    index = np.array([[0, 1, 20], [255, 254, 15]])
    palette_png(index).save(tmp_path / "seeds.png")
    with Image.open(tmp_path / "seeds.png") as read:
        assert read.mode == "P"
        assert np.asarray(read).tolist() == index.tolist()
        assert read.convert("RGB").getpixel((2, 0)) == (0, 64, 128)
        assert read.convert("RGB").getpixel((0, 1)) == (224, 224, 192)


@pytest.mark.parametrize("wrong", [-1, 256])
def test_an_index_beyond_a_byte_is_refused(wrong: int) -> None:
    with pytest.raises(DataError, match=f"0 to 255, got {min(wrong, 0)} to {max(wrong, 0)}"):
        palette_png(np.array([[0, wrong]]))


def test_a_list_is_json_and_there_only_when_whole(tmp_path: Path) -> None:
    for count in (0, 1, 3):
        with listed(tmp_path / "list.json") as add:
            for number in range(count):
                add({"n": number})
        assert json.loads((tmp_path / "list.json").read_text()) == [{"n": number} for number in range(count)]
    with pytest.raises(KeyError), listed(tmp_path / "other.json") as add:  # noqa: PT012
        add(1)
        raise KeyError
    assert not (tmp_path / "other.json").exists()
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".json"] == ["list.json"]


def test_the_palette_is_that_of_real_masks(data: Path) -> None:
    folder = data / "coco_sample" / "SegmentationClass"
    with Image.open(min(folder.glob("*.png"))) as real:
        palette = real.getpalette()
    assert palette is not None
    assert palette == voc_colours().ravel().tolist()[: len(palette)]
