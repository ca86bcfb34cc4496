"""sightline localize as a user meets it: every format read back, a bad file passed over, exit codes."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import sightline
from sightline import regions
from sightline.cli import app
from sightline.cli.explain import sample
from sightline.errors import DataError, LayerError, MethodError, SightlineError

runner = CliRunner()


def run(*args: object) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, rows of JSON and stderr; an error of ours is raised."""
    done = runner.invoke(app, ["localize", *map(str, args), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good pictures of one name in two folders, and a bad one."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "sub").mkdir()
    with Image.open(sample()) as china:
        china.resize((160, 120)).save(root / "a.jpg")
        china.resize((120, 160)).save(root / "sub" / "a.png")
    (root / "broken.jpg").write_bytes(b"not a picture")
    return root


def unrolled(mask: dict[str, Any]) -> np.ndarray:
    height, width = mask["size"]
    flat = np.repeat(np.arange(len(mask["counts"])) % 2, mask["counts"])
    return flat.reshape(width, height).T.astype(bool)


@pytest.fixture(scope="module")
def church() -> sightline.Explanation:
    return sightline.explain(sightline.load("photos"), str(sample()), "church")


def test_the_sample_is_boxed_as_the_python_call_boxes_it(tmp_path: Path, church: sightline.Explanation) -> None:
    code, (row,), err = run("-t", "church", "-o", tmp_path)
    assert (code, err) == (0, "")
    assert tuple(row["box"]) == church.box()
    assert row["target"] == {"name": "church", "index": 4}
    assert (row["threshold"], row["largest"]) == (0.15, "pixels")
    assert row["marked"] == pytest.approx(church.mask().mean())
    assert "mask" not in row
    (kept,) = json.loads((tmp_path / "localize.json").read_text())
    assert (unrolled(kept.pop("mask")) == church.mask()).all()
    assert kept == row
    (overlay,) = row["files"]
    with Image.open(overlay) as shown:
        assert shown.width == 640


def test_threshold_and_convention_are_those_asked_for(tmp_path: Path, church: sightline.Explanation) -> None:
    _, (row,), _ = run("-t", "church", "--threshold", "0.6", "--largest", "rect", "-o", tmp_path)
    assert tuple(row["box"]) == regions.box(church.heat, 0.6, "rect") == church.box(0.6, "rect")
    assert tuple(row["box"]) != church.box()
    assert (row["threshold"], row["largest"]) == (0.6, "rect")


def test_every_format_says_the_same(tmp_path: Path, folder: Path) -> None:
    asked = [folder / "a.jpg", "-t", "church", "-t", "parachute", "--format", "json, coco,voc,png"]
    code, rows, _ = run(*asked, "--no-overlays", "-o", tmp_path)
    assert code == 0
    names = ["church", "parachute"]
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    results = json.loads((tmp_path / "coco.json").read_text())
    about = json.loads((tmp_path / "coco-images.json").read_text())
    classes = json.loads((tmp_path / "classes.json").read_text())
    kept = json.loads((tmp_path / "localize.json").read_text())
    assert about["images"] == [{"id": 1, "file_name": "a.jpg", "width": 160, "height": 120}]
    categories = {row["id"]: row["name"] for row in about["categories"]}
    for name, row, thing, result, whole in zip(names, rows, root.findall("object"), results, kept, strict=True):
        x0, y0, x1, y1 = row["box"]
        assert row["target"]["name"] == thing.findtext("name") == categories[result["category_id"]] == name
        assert [int(thing.findtext(f"bndbox/{end}") or 0) for end in ("xmin", "ymin", "xmax", "ymax")] == [
            x0 + 1, y0 + 1, x1, y1,
        ]  # fmt: skip
        assert result["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert result["score"] == pytest.approx(row["probability"])
        with Image.open(tmp_path / f"a-{name}-mask.png") as png:
            number = classes.index(name) + 1
            assert number == result["category_id"] == row["target"]["index"] + 1
            assert (np.asarray(png) == number * unrolled(whole["mask"])).all()
    expected = ["classes.json", "coco-images.json", "coco.json", "localize.json", "a.xml"]
    written = [f"a-{name}-mask.png" for name in names]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(expected + written)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_results(tmp_path: Path, folder: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    masks = pytest.importorskip("pycocotools.mask")
    run(folder, "-t", "top:2", "--format", "coco", "--no-overlays", "-o", tmp_path)
    read = coco.COCO(str(tmp_path / "coco-images.json"))
    results = read.loadRes(str(tmp_path / "coco.json"))
    assert len(results.anns) == 4
    for found in results.anns.values():
        assert masks.toBbox(results.annToRLE(found)).tolist() == found["bbox"]


def test_seeds_are_one_index_map_of_all_targets(tmp_path: Path, folder: Path) -> None:
    from sightline.seeds import refined, seeds

    picture = folder / "a.jpg"
    why = sightline.explain(sightline.load("photos"), str(picture), ["church", "parachute"])
    heats = {one.name: one.heat for one in why}
    ours = {
        "--seeds": seeds(heats, 0.3),
        "--refine": refined(heats, why.picture, 0.3) if pytest.importorskip("skimage") else None,
    }
    for flag, index in ours.items():
        asked = [picture, "-t", "church", "-t", "parachute", flag, "--background", "0.3"]
        _, rows, _ = run(*asked, "--no-overlays", "-o", tmp_path / flag)
        said = rows[0]["seeds"]
        assert said == rows[1]["seeds"]
        assert (said["classes"], said["background"]) == ({"church": 5, "parachute": 10}, 0.3)
        assert said["refined"] == (flag == "--refine")
        assert said["file"] in rows[0]["files"]
        with Image.open(said["file"]) as png:
            assert (np.asarray(png) == np.array([0, 5, 10])[index]).all()


def test_a_batch_goes_on_past_a_bad_file_and_exits_non_zero(folder: Path, tmp_path: Path) -> None:
    code, rows, err = run(folder, "no/such.jpg", "--format", "json,voc,png", "--seeds", "-o", tmp_path)
    assert code == 1
    assert [Path(row["picture"]).name for row in rows] == ["a.jpg", "a.png"]
    files = [file for row in rows for file in row["files"]]
    assert len(set(files)) == len(files) == 8  # nothing was overwritten
    assert all(Path(file).is_file() for file in files)
    assert ElementTree.parse(tmp_path / "a-2.xml").getroot().findtext("filename") == "a.png"
    assert "2 could not be explained" in err
    assert "broken.jpg" in err
    assert "no/such.jpg" in err


def test_pictures_go_through_in_batches_and_are_written_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sightline import explainer

    with Image.open(sample()) as china:
        small = china.resize((40, 30))
    for number in range(18):
        small.save(tmp_path / f"{number + 100}.png")
    seen = []
    explained = explainer.explained

    def noted(model: Any, pictures: Any, *args: Any, **options: Any) -> Any:
        seen.append((len(pictures), len(list((tmp_path / "out").glob("*.xml")))))
        return explained(model, pictures, *args, **options)

    monkeypatch.setattr(explainer, "explained", noted)
    code, rows, _ = run(tmp_path, "--format", "coco,voc", "--no-overlays", "-o", tmp_path / "out")
    assert (code, len(rows)) == (0, 18)
    assert seen == [(16, 0), (2, 16)]
    ids = [row["image_id"] for row in json.loads((tmp_path / "out" / "coco.json").read_text())]
    assert ids == list(range(100, 118))  # the pictures' own numbers


def test_a_map_that_marks_nothing_has_no_box(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.explanation import Explanation

    monkeypatch.setattr(Explanation, "heat", property(lambda self: np.zeros((120, 160), dtype=np.float32)))
    code, (row,), _ = run(folder / "a.jpg", "--format", "json,coco,voc,png", "--seeds", "-o", tmp_path)
    assert code == 0
    assert (row["box"], row["marked"]) == (None, 0)
    assert json.loads((tmp_path / "coco.json").read_text()) == []
    assert ElementTree.parse(tmp_path / "a.xml").getroot().find("object") is None
    done = runner.invoke(app, ["localize", str(folder / "a.jpg"), "-o", str(tmp_path)], env={"COLUMNS": "200"})
    assert "nothing lit" in done.stdout


def test_more_classes_than_a_palette_has_are_one_pictures_error(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.cli.localize.MOST", 2)
    code, rows, err = run(folder / "a.jpg", "-t", "church", "-t", "parachute", "--seeds", "-o", tmp_path)
    assert (code, rows) == (1, [])
    assert "a.jpg: a palette PNG has 1 classes, and 'parachute' is one more" in err
    code, rows, _ = run(folder / "a.jpg", "-t", "church", "-t", "parachute", "-o", tmp_path)
    assert (code, len(rows)) == (0, 2)


def test_without_json_it_says_what_it_found_and_wrote(tmp_path: Path, folder: Path) -> None:
    args = ["localize", "-t", "church", "-o", str(tmp_path), str(folder / "a.jpg")]
    done = runner.invoke(app, args, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0
    (row,) = json.loads((tmp_path / "localize.json").read_text())
    assert f"a.jpg    church        {row['probability']:.3f}  {', '.join(map(str, row['box']))}" in done.stdout
    assert f"wrote {tmp_path / 'localize.json'}" in done.stdout
    assert str(tmp_path / "a-boxes.png") in done.stdout
    assert "from 0.15 of each map's maximum on; the boxed component is the largest by pixels" in done.stdout
    assert "ten" in done.stdout or "10-class" in done.stdout


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (["--format", "yolo"], DataError, "no format 'yolo'; choose from json, coco, voc, png"),
        (["--largest", "area"], DataError, "no convention of what is largest 'area'; choose from pixels, contour"),
        (["--method", "grad-cim"], MethodError, "no method 'grad-cim'"),
        (["--layer", "featurs"], LayerError, "no layer 'featurs'"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, args: list[str], error: type[SightlineError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(*args, "-o", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--threshold", "--background"])
def test_a_share_is_between_zero_and_one(tmp_path: Path, option: str) -> None:
    done = runner.invoke(app, ["localize", option, "15", "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "less than or equal to 1" in done.stderr


def test_without_scikit_image_refining_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(MethodError, match=r"pip install sightline\[superpixels\]"):
        run("--refine", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SightlineError, match="can't be written to.*--out"):
        run("-o", tmp_path / "file")
