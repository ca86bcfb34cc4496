"""Runs: each row is re-derived by hand, and whatever goes wrong is a row, a refusal, or is gone on with."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sightline
from sightline.datasets import Listed, open_data
from sightline.errors import DataError, LayerError, MethodError, ModelError, SightlineError, TargetError
from sightline.geometry import Framing
from sightline.methods import method
from sightline.methods.compose import over_noise
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.regions import box, peak
from sightline.runs import Run, run
from sightline.runs import store as stores
from sightline.runs.explaining import Explainer
from sightline.runs.job import Job
from sightline.runs.reading import Reader
from sightline.runs.rows import located
from sightline.runs.store import check
from sightline.trials import Known, Sample, Truth

SCENES = "scenes:shapes:count=10"


@pytest.fixture(scope="module")
def shapes() -> Model:
    return sightline.load("shapes")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve JPEG files in folders of their classes, not square, and one of them large."""
    root = tmp_path_factory.mktemp("photos")
    scenes = open_data("scenes:shapes:count=12")
    for place in range(len(scenes)):
        sample = scenes[place]
        folder = root / sample.truths[0].label
        folder.mkdir(exist_ok=True)
        size = (900, 700) if place == 5 else (150, 110 + place)
        sample.picture.resize(size, Image.Resampling.BICUBIC).save(folder / f"{place:02}.jpg", quality=92)
    return root


def rows_of(found: Run) -> list[dict[str, Any]]:
    """All rows as plain values, with the maps as bytes, so that two runs can be compared bit for bit."""
    names = [*found.table().column_names, "map"]
    every = found.table(names).to_pylist()
    for row in every:
        row["map"] = None if row["map"] is None else np.array(row["map"], np.float16).tobytes()
    return every


def test_every_value_of_a_row_is_what_explain_says_of_the_picture(shapes: Model, photos: Path, tmp_path: Path) -> None:
    methods = ("grad-cam", "saliency", "occlusion:window=48:stride=24")
    asked = ("predicted", "label", "not:star", "star-vs:ring", "finer:3", "top:2")
    data = open_data(photos)
    found = run(shapes, photos, asked, methods, folder=tmp_path / "out", batch_size=5, part_size=7, workers=0)
    table = found.table().to_pylist()
    assert len(table) == 12 * 7 * 3
    assert [(row["place"], row["method"]) for row in table[:4]] == [(0, m) for m in (*methods, methods[0])]
    for place in (5, 6, 11):
        sample = data[place]
        rows = [row for row in found.rows() if row["place"] == place]
        labels = [truth.label for truth in sample.truths]
        targets = [None, labels[0], "not:star", "star-vs:ring", "finer:3"]
        for k, row in enumerate(rows):
            why = sightline.explain(
                shapes, sample.picture, "top:2" if k >= 15 else targets[k // 3], method=methods[k % 3]
            )
            at = k // 3 - 5 if k >= 15 else 0
            assert (row["picture"], row.size, row["labels"]) == (sample.name, sample.picture.size, labels)
            assert row["asked"] == (*asked[:5], "top:2", "top:2")[k // 3]
            assert (row["target"], row["index"]) == (why.asked[at].name, why.asked[at].index)
            assert row["score"] == pytest.approx(why.scores[at], abs=1e-4)
            assert row["probability"] == pytest.approx(why.probabilities[at], abs=1e-5)
            ranked = why_ranks(shapes, sample.picture)
            assert ranked[row["rank"]] == row["index"]
            assert (row["predicted"], row["predicted_name"]) == (ranked[0], shapes.labels[ranked[0]])
            assert row["predicted_probability"] == pytest.approx(why.predictions[0].probability, abs=1e-5)
            assert row["correct"] == (row["predicted_name"] in labels)
            assert (row["method"], row["layer"]) == (methods[k % 3], why.layer)
            raw = why.maps[at]
            assert torch.allclose(row.map, raw, atol=float(raw.abs().max()) / 500)
            assert row["scale"] == pytest.approx(float(raw.abs().max()), rel=1e-3)
            assert row.framing.seen == pytest.approx(why.framing.seen, abs=1e-3)
            heat = why.framing.to_picture(raw).numpy()
            assert (row["peak"] is None) == (np.nanmax(heat) <= 0)
            if row["peak"] is not None:
                x, y = row["peak"]
                assert heat[y, x] == pytest.approx(np.nanmax(heat), rel=1e-3)
            assert row["box"] == (None if box(heat) is None else pytest.approx(box(heat), abs=2))
            assert row["question"] == found.question["question"]
            assert row["error"] is None
            file = photos / row["picture"]
            assert row["content"] == hashlib.sha256(file.read_bytes()).hexdigest()


def why_ranks(model: Model, picture: Image.Image) -> list[int]:
    with torch.no_grad():
        values = model.module(model.preprocess(picture)[None])[0]
    return sorted(range(len(values)), key=lambda i: -float(values[i]))


def test_the_order_is_the_data_sets_and_pixels_stand_in_for_a_file(shapes: Model, tmp_path: Path) -> None:
    found = run(shapes, SCENES, ("label",), folder=tmp_path, part_size=3, batch_size=2, workers=0)
    data = open_data(SCENES)
    expected = [(data[n].name, truth.label) for n in range(10) for truth in data[n].truths]
    table = found.table().to_pylist()
    assert [(row["picture"], row["target"]) for row in table] == expected
    assert table[0]["content"] == hashlib.sha256(np.asarray(data[0].picture).tobytes()).hexdigest()
    assert [row["picture"] for row in found.rows(pictures={expected[4][0]})] == [
        name for name, _ in expected if name == expected[4][0]
    ]
    assert list(found.rows("grad-cam++")) == []


@pytest.fixture
def seen(shapes: Model) -> Iterator[list[int]]:
    """How many images each pass of the model took."""
    counts: list[int] = []
    handle = shapes.module.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    yield counts
    handle.remove()


def test_what_is_asked_costs_no_more_passes_than_it_must(shapes: Model, seen: list[int], tmp_path: Path) -> None:
    first = run(shapes, SCENES, folder=tmp_path / "warm", workers=0)
    at_first = len(seen) - 1
    assert (seen[-1], len(first.table())) == (10, 10)
    for targets, passes in ((("predicted",), 1), (("label",), 1), (("top:3",), 1), (("predicted", "label"), 2)):
        seen.clear()
        methods = ("grad-cam", "layer-cam", "xgrad-cam")
        run(shapes, SCENES, targets, methods, folder=tmp_path / str(targets), batch_size=10, workers=0)
        assert [count for count in seen if count > 1] == [10] * passes, targets
        assert len(seen) - passes <= at_first


def test_a_class_asked_twice_is_explained_once(shapes: Model, tmp_path: Path) -> None:
    job = Job(shapes, open_data(SCENES), tmp_path, ("predicted", "label"), (), "features", 10, 10, False, 0, 10, "q")
    batch = job.reader(0, range(10))
    question, wanted = job.explainer._question(batch.seen, batch.images)
    assert question is not None
    most = max(len({target.place for target in row}) for row in wanted)
    assert {len(row) for row in question.phrases} == {most}
    for row, targets, picture in zip(question.phrases, wanted, batch.seen):
        own = [shapes.labels.index(label) for label in picture.labels or ()]
        assert [row[target.place].index for target in targets[1:]] == own
        if row[targets[0].place].index in own:
            assert len({target.place for target in targets}) == len(own)


def test_what_the_data_set_says_and_the_model_lacks_is_a_row_with_its_error(shapes: Model, tmp_path: Path) -> None:
    picture = open_data(SCENES)[0].picture
    truths = {"a": ("star", "zebra"), "b": (), "c": ("12",), "d": ("8",), "e": ("tri",)}
    read = lambda name, labels: Sample(name, picture, tuple(map(Truth, labels)), about={"by": name})  # noqa: E731
    data = Listed("told", frozenset({Known.CLASSES}), truths, read)
    found = run(shapes, data, ("label",), folder=tmp_path, workers=0)
    table = {(row["picture"], row["target"]): row for row in found.table().to_pylist()}
    errors = {name: (row["error"], row["correct"]) for name, row in table.items()}
    right = shapes.labels[why_ranks(shapes, picture)[0]]
    assert errors == {
        ("a", "star"): (None, right == "star"),
        ("a", None): ("the model knows no class 'zebra'", right == "star"),
        ("b", None): ("the data set names no class in it", None),
        ("c", None): ("the model knows no class '12'", None),
        ("d", shapes.labels[8]): (None, right == shapes.labels[8]),
        ("e", None): ("the model knows no class 'tri'", None),
    }
    row = table["c", None]
    assert (row["asked"], row["predicted_name"], row["method"], row["labels"]) == ("label", right, None, ["12"])
    assert row["about"] == [("by", "c")]
    assert [row["picture"] for row in found.rows()] == ["a", "d"]
    assert found.errors()[0] == ("a", "the model knows no class 'zebra'")


def test_pictures_that_cant_be_read_are_rows_and_the_run_goes_on(shapes: Model, photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    good = next(iter(sorted(photos.rglob("*.jpg")))).read_bytes()
    bad = {"a-empty.jpg": b"", "b-text.jpg": b"no picture", "d-cut.jpg": good[: len(good) // 2]}
    for name, data in {**bad, "c-good.jpg": good, "g-good.jpg": good}.items():
        (root / name).write_bytes(data)
    Image.new("RGB", (2, 4000)).save(root / "e-long.png")
    data = open_data(root)
    (root / "f-gone.jpg").write_bytes(good)
    data = open_data(root)
    (root / "f-gone.jpg").unlink()
    told: list[tuple[int, int]] = []
    found = run(
        replace(shapes, preprocess=replace(shapes.preprocess, fit="crop", resize=300)), data,
        folder=tmp_path / "out", batch_size=3,
        workers=0, progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    errors = dict(found.errors())
    assert sorted(errors) == ["a-empty.jpg", "b-text.jpg", "d-cut.jpg", "e-long.png", "f-gone.jpg"]
    assert "would grow to" in errors["e-long.png"]
    assert "empty, 0 bytes" in errors["a-empty.jpg"]
    assert "cut short" in errors["d-cut.jpg"]
    table = {row["picture"]: row for row in found.table().to_pylist()}
    assert table["d-cut.jpg"]["content"] == hashlib.sha256(bad["d-cut.jpg"]).hexdigest()
    assert table["d-cut.jpg"]["width"] == table["c-good.jpg"]["width"]
    assert (table["f-gone.jpg"]["content"], table["f-gone.jpg"]["predicted"]) == (None, None)
    assert len(table) == 7
    assert (told[0], told[-1]) == ((0, 7), (7, 7))


class Brittle(nn.Module):
    """The net, but of pictures whose mean is above a level the scores aren't finite."""

    def __init__(self, inner: nn.Module, level: float) -> None:
        super().__init__()
        self.inner, self.level = inner, level

    def forward(self, image: Tensor) -> Tensor:
        values: Tensor = self.inner(image)
        dark = image.flatten(1).mean(1, keepdim=True) <= self.level
        return torch.where(dark, values, torch.nan)


def test_a_picture_without_finite_scores_costs_only_its_own_row(shapes: Model, tmp_path: Path) -> None:
    data = open_data(SCENES)
    means = [float(shapes.preprocess(data[n].picture).mean()) for n in range(10)]
    level = sorted(means)[7]
    bright = {data.names[n] for n in range(10) if means[n] > level}
    brittle = replace(shapes, module=Brittle(shapes.module, level).eval())
    found = run(brittle, data, folder=tmp_path / "a", layer="inner.features", batch_size=5, workers=0)
    assert {name for name, _ in found.errors()} == bright
    assert len(bright) == 2
    assert all("finite" in why for _, why in found.errors())
    plain = run(shapes, data, folder=tmp_path / "b", batch_size=5, workers=0)
    by_name = {row["picture"]: row for row in plain.rows()}
    for row in found.rows():
        assert torch.allclose(row.map, by_name[row["picture"]].map, atol=1e-4)
    assert len(list(found.rows())) == 8


def test_a_method_that_fails_on_every_picture_ends_the_run(shapes: Model, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="attention"):
        run(shapes, SCENES, methods=("grad-cam", "attention-rollout"), folder=tmp_path / "a", workers=0)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"targets": ()}, TargetError, "no target was given"),
        ({"targets": ("dgo",)}, TargetError, "no class 'dgo'"),
        ({"targets": ("12",)}, TargetError, "no class 12"),
        ({"targets": ("star-vs:77",)}, TargetError, "no class 77"),
        ({"targets": ("top:11",)}, TargetError, "top:11"),
        ({"targets": ("all:star,ring",)}, TargetError, "asked of one picture"),
        ({"methods": ()}, MethodError, "no method was given"),
        ({"methods": ("grad-cm",)}, MethodError, "grad-cam"),
        ({"layer": "nowhere"}, LayerError, "nowhere"),
        ({"layer": ["features"]}, LayerError, "one layer"),
        ({"batch_size": 0}, DataError, "expected whole numbers"),
        ({"part_size": 0}, DataError, "expected whole numbers"),
        ({"engine": "spark"}, DataError, "local or ray"),
        ({"actors": 2}, DataError, "engine ray only"),
        ({"shard": (0, 2)}, DataError, "shard 0/2"),
        ({"shard": (3, 2)}, DataError, "shard 3/2"),
        ({"shard": (1, 2)}, DataError, "there are 1 parts for 2"),
        ({"shard": (1, 2), "part_size": 2, "fresh": True}, DataError, "empty the folder first"),
        ({"sample": 0}, DataError, "0 pictures"),
        ({"data": "scenes:nothing"}, DataError, "nothing"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cant_be_asked_is_refused_in_a_line_before_anything_is_written(
    shapes: Model, tmp_path: Path, change: dict[str, Any], error: type[SightlineError], told: str
) -> None:
    asked: dict[str, Any] = {"data": SCENES, "folder": tmp_path / "out", "workers": 0} | change
    with pytest.raises(error, match=told) as caught:
        run(shapes, **asked)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or "actors" in change


def test_models_of_something_else_than_classes_are_refused(shapes: Model, tmp_path: Path) -> None:
    from sightline.model import Task

    for other in (replace(shapes, task=Task.REGIONS), replace(shapes, frames=8)):
        with pytest.raises(ModelError, match="explains? classes|clips"):
            run(other, SCENES, folder=tmp_path)
    with pytest.raises(ModelError, match="9 classes and 2 labels"):
        run(replace(shapes, labels=sightline.Labels(("a", "b"))), SCENES, folder=tmp_path)
    with pytest.raises(DataError, match="nothing in told could be read.*broken"):
        run(shapes, Listed("told", frozenset(), {"a": 1}, broken), folder=tmp_path)


def broken(name: str, _: int) -> Sample:
    raise DataError(f"{name} is broken")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"targets": ("label",)}, "targets"),
        ({"methods": ("grad-cam++",)}, "methods"),
        ({"methods": ("rise:masks=8",)}, "methods"),
        ({"layer": "features.0"}, "layer"),
        ({"batch_size": 4}, "batch"),
        ({"part_size": 5}, "part"),
        ({"seed": 1}, "seed"),
        ({"sample": 7}, "sample"),
        ({"overlays": True}, "overlays"),
        ({"data": "scenes:shapes:count=11"}, "opened"),
        ({"data": "scenes:shapes:count=10:seed=1"}, "opened"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_other_options_dont_mix_in(shapes: Model, tmp_path: Path, change: dict[str, Any], name: str) -> None:
    asked: dict[str, Any] = {"data": SCENES, "folder": tmp_path, "workers": 0}
    found = run(shapes, **asked)
    before = rows_of(found)
    with pytest.raises(DataError, match="holds another run") as caught:
        run(shapes, **(asked | change))
    assert f"its {name} was" in str(caught.value) or name == "sample"
    assert rows_of(Run(tmp_path)) == before
    assert Run(tmp_path).question["question"] == found.question["question"]


def test_changed_weights_and_renamed_pictures_are_refused_and_fresh_begins_again(
    shapes: Model, photos: Path, tmp_path: Path
) -> None:
    first = run(shapes, SCENES, folder=tmp_path, part_size=4, overlays=True, workers=0)
    old = first.question["question"]
    (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / "rows" / "mine.txt").write_text("kept")
    other = sightline.load("shapes-random-labels")
    with pytest.raises(DataError, match="its model was"):
        run(other, SCENES, folder=tmp_path, part_size=4, overlays=True, workers=0)
    with pytest.raises(DataError, match="its weights was"):
        run(replace(other, name="shapes"), SCENES, folder=tmp_path, part_size=4, overlays=True, workers=0)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "evidence.parquet").write_bytes(b"of the old rows")
    again = run(other, SCENES, folder=tmp_path, part_size=8, fresh=True, workers=0)
    assert again.question["question"] != old
    assert not (tmp_path / "audit" / "evidence.parquet").exists()
    assert len(again.parts) == 2
    assert not (tmp_path / "overlays").exists()
    assert (tmp_path / "mine.txt").is_file()
    assert (tmp_path / "rows" / "mine.txt").is_file()
    renamed = tmp_path / "photos"
    renamed.mkdir()
    for n, file in enumerate(sorted(photos.rglob("*.jpg"))[:3]):
        (renamed / f"{n}.jpg").write_bytes(file.read_bytes())
    run(shapes, renamed, folder=tmp_path / "two", workers=0)
    (renamed / "1.jpg").rename(renamed / "9.jpg")
    with pytest.raises(DataError, match="its names was"):
        run(shapes, renamed, folder=tmp_path / "two", workers=0)


def test_rows_are_the_same_whoever_reads_and_writes_them(shapes: Model, photos: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"targets": ("predicted", "label"), "part_size": 4, "batch_size": 3}
    plain = rows_of(run(shapes, photos, folder=tmp_path / "plain", workers=0, **asked))
    assert rows_of(run(shapes, photos, folder=tmp_path / "processes", workers=2, **asked)) == plain
    sharded = tmp_path / "sharded"
    for number in (3, 1, 2):
        some = run(shapes, photos, folder=sharded, shard=(number, 3), workers=0, **asked)
    assert rows_of(some) == plain
    told: list[tuple[int, int]] = []
    (sharded / "rows" / "part-000001.parquet").unlink()
    again = run(shapes, photos, folder=sharded, workers=0, **asked, progress=lambda *now: told.append(now))
    assert rows_of(again) == plain
    assert told[0] == (8, 12)
    job = Job(
        shapes, open_data(photos), sharded, ("predicted", "label"), some_methods(), "features", 4, 3, False, 0, 10,
        again.question["question"],
    )  # fmt: skip
    (sharded / "rows" / "part-000002.parquet").unlink()
    wrote = job.write(2)
    assert (wrote.part, wrote.pictures, wrote.errors) == (2, 4, 0)
    assert rows_of(Run(sharded)) == plain


def some_methods() -> tuple[Any, ...]:
    from sightline.methods import method

    return (method("grad-cam"),)


def test_each_of_torchruns_processes_does_its_own_parts(
    shapes: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    wrote = []
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        found = run(shapes, SCENES, folder=tmp_path, part_size=2, workers=0)
        wrote.append([file.name for file in found.parts])
    assert wrote[0] == ["part-000001.parquet", "part-000003.parquet"]
    assert len(wrote[1]) == 5
    with pytest.raises(DataError, match="there are 1 parts for 2"):
        run(shapes, SCENES, folder=tmp_path / "few", workers=0)


def test_a_sample_is_drawn_by_the_seed_and_opened_again(shapes: Model, tmp_path: Path) -> None:
    found = [run(shapes, SCENES, folder=tmp_path / str(seed), sample=4, seed=seed, workers=0) for seed in (0, 1)]
    names = [[row["picture"] for row in each.rows()] for each in found]
    assert names[0] != names[1]
    assert [len(each) for each in names] == [4, 4]
    again = Run(tmp_path / "1")
    assert list(again.data.names) == names[1]
    assert all(name == sorted(name) for name in names)


def test_overlays_are_the_pictures_own_maps(shapes: Model, photos: Path, tmp_path: Path) -> None:
    asked = ("label", "predicted")
    methods = ("grad-cam", "rise:masks=20")
    found = run(shapes, photos, asked, methods, folder=tmp_path, part_size=8, overlays=True, workers=0)
    rows = list(found.rows())
    assert len({row["overlay"] for row in rows}) == len(rows) == 48
    assert rows[0]["overlay"].startswith("overlays/part-000000/0000-1-")
    assert rows[-1]["overlay"] == f"overlays/part-000001/0003-4-{rows[-1]['target']}-rise_masks=20.jpg".replace(
        " ", "_"
    )
    data = open_data(photos)
    for row in rows[::7]:
        with Image.open(tmp_path / row["overlay"]) as file:
            drawn = file.convert("RGB")
        scale = min(1.0, 512 / max(row.size))
        assert drawn.size == (round(row.size[0] * scale), round(row.size[1] * scale))
        why = sightline.explain(shapes, data[row["place"]].picture, row["target"], method=row["method"])
        expected = np.asarray(why.overlay().resize(drawn.size, Image.Resampling.BILINEAR), float)
        assert np.abs(np.asarray(drawn, float) - expected).mean() < 4


def test_a_large_jpeg_is_decoded_smaller_and_framed_at_its_stored_size(tmp_path: Path) -> None:
    yy, xx = np.mgrid[:1351, :2111]
    waves = np.stack([np.sin(xx / 90), np.cos(yy / 70), np.sin((xx + yy) / 120)], -1)
    Image.fromarray(np.uint8(127 + 120 * waves)).save(tmp_path / "a.jpg", quality=95)
    data = open_data(tmp_path)
    picture = data[0].picture
    for fit, overlays in (("crop", False), ("squash", False), ("pad", False), ("crop", True)):
        preprocess = Preprocess(size=(96, 128), fit=fit, resize=112)
        [read] = (batch := Reader(data, preprocess, overlays=overlays)(0, [0])).pictures
        assert (read.size, read.framing) == (picture.size, preprocess.framing(picture.size))
        assert batch.images is not None
        expected = preprocess(picture)
        assert batch.images[0].shape == expected.shape
        assert float((batch.images[0] - expected).abs().max()) < 0.1  # 6 of 256 levels
    small = batch.small()[0]
    assert small.size == (512, 328)
    assert np.abs(np.asarray(small, float) - np.asarray(picture.resize(small.size), float)).mean() < 2


@pytest.mark.parametrize("size", [(640, 480), (3000, 2000), (40, 90_000)])
def test_a_map_is_located_in_pictures_of_any_size(size: tuple[int, int]) -> None:
    raw = torch.zeros(6, 6)
    raw[1:3, 2:5] = torch.tensor([[0.5, 1.0, 0.4], [0.2, 0.6, 0.1]])
    raw[5, 0] = 0.4
    framing = Framing.whole(size, (96, 96))
    heat = framing.to_picture(raw).numpy()
    top, around = located(raw, framing)
    step = max(1.0, (size[0] * size[1] / 2**20) ** 0.5)
    share = 0 if step == 1 else step / min(size)
    expected = peak(heat), box(heat, 0.15)
    assert top is not None
    assert around is not None
    assert expected[0] is not None
    assert expected[1] is not None
    for found, true, pixels in zip((*top, *around), (*expected[0], *expected[1]), size * 3):
        assert abs(found - true) <= share * pixels
    assert located(torch.zeros(3, 3), framing) == (None, None)


def test_a_map_of_zeros_and_a_signed_one_are_kept(shapes: Model, tmp_path: Path) -> None:
    class Flat(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.mean((2, 3)) * torch.tensor([1.0, 0.0, -1.0])

    flat = sightline.wrap(Flat(), preprocess=Preprocess(size=(8, 8), fit="squash"), labels=("red", "green", "blue"))
    found = run(flat, SCENES, ("red", "green", "blue"), ("input-x-gradient",), folder=tmp_path, workers=0)
    by = {name: [row for row in found.rows() if row["target"] == name] for name in ("red", "green", "blue")}
    assert {row["scale"] for row in by["green"]} == {0.0}
    assert {(row["peak"], row["box"]) for row in by["green"]} == {(None, None)}
    assert all(not row.map.any() for row in by["green"])
    data = open_data(SCENES)
    for row in (*by["red"], *by["blue"]):
        image = flat.preprocess(data[row["place"]].picture)
        expected = image[0] / 64 if row["target"] == "red" else -image[2] / 64
        assert torch.allclose(row.map, expected, atol=float(expected.abs().max()) / 1000)


def test_a_folder_that_is_a_file_and_one_that_cant_be_made(shapes: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="can't be written to") as caught:
            run(shapes, SCENES, folder=folder, workers=0)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"
    stores.Store(tmp_path / "new", {"a": 1}, 1)
    with pytest.raises(DataError, match="without a single part"):
        Run(tmp_path / "new")
    with pytest.raises(DataError, match="holds no run"):
        Run(tmp_path)


@dataclass
class Failing:
    """A call that fails some times before it works."""

    call: Callable[..., Any]
    number: int
    times: int = 1
    calls: int = 0

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise OSError(self.number, os.strerror(self.number))
        return self.call(*given)


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_disk_that_is_full_loses_nothing_and_the_same_call_goes_on(
    shapes: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    good = rows_of(run(shapes, SCENES, folder=tmp_path / "good", part_size=2, workers=0))
    room = iter([True] * 3 + [False])
    whole = os.fsync if what == "fsync" else Path.replace

    def short(*given: Any) -> Any:
        if not next(room, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync") if what == "fsync" else (Path, "replace")), short)
        with pytest.raises(DataError, match="No space left on device.*the same command goes on"):
            run(shapes, SCENES, folder=tmp_path / "full", part_size=2, workers=0)
    there = [file.name for file in sorted((tmp_path / "full" / "rows").iterdir())]
    assert there == [f"part-{n:06}.parquet" for n in range(len(there))]
    assert len(there) in (2, 3)
    assert rows_of(run(shapes, SCENES, folder=tmp_path / "full", part_size=2, workers=0)) == good


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_links_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", Failing(os.link, number, times=9))
    stores.place(tmp_path / "a", b"one", new=True)
    stores.place(tmp_path / "a", b"two", new=True)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(os, "link", Failing(os.link, errno.ENOSPC, times=9))
    with pytest.raises(OSError, match="No space"):
        stores.place(tmp_path / "b", b"one", new=True)


def test_a_file_whose_draft_was_tidied_away_is_there_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tidied(draft: Path, target: Path) -> None:
        draft.unlink()
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(Path, "replace", tidied)
    (tmp_path / "a").write_bytes(b"whole")
    stores.place(tmp_path / "a", b"whole")
    with pytest.raises(FileNotFoundError):
        stores.place(tmp_path / "b", b"lost")


def test_an_unfinished_draft_is_tidied_only_when_all_is_done(shapes: Model, tmp_path: Path) -> None:
    run(shapes, SCENES, folder=tmp_path, part_size=5, shard=(1, 2), workers=0)
    draft = tmp_path / "rows" / ".part-000001.parquet.elsewhere-7-0a.tmp"
    draft.write_bytes(b"half")
    run(shapes, SCENES, folder=tmp_path, part_size=5, shard=(1, 2), workers=0)
    assert draft.is_file()
    run(shapes, SCENES, folder=tmp_path, part_size=5, shard=(2, 2), workers=0)
    assert not draft.exists()


def test_a_reading_process_that_dies_is_said_and_gone_on_after(shapes: Model, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = Listed("deadly", frozenset(), {str(n): n for n in range(12)}, Deadly(mark))
    mark.write_text("")
    asked: dict[str, Any] = {"folder": tmp_path / "out", "part_size": 2, "batch_size": 2}
    with pytest.raises(DataError, match="a process that reads pictures was killed.*the same command goes on"):
        run(shapes, data, workers=2, **asked)
    mark.unlink()
    whole = run(shapes, data, workers=0, **(asked | {"folder": tmp_path / "whole"}))
    assert rows_of(run(shapes, data, workers=1, **asked)) == rows_of(whole)


@dataclass
class Deadly:
    """Plain pictures; while a mark is there, the process that reads the ninth is killed, as when memory runs out."""

    mark: Path

    def __call__(self, name: str, place: int) -> Sample:
        if place == 8 and self.mark.exists():
            os.kill(os.getpid(), 9)
        return Sample(name, Image.new("RGB", (20, 20), (20 * place, 90, 40)), ())


def test_the_question_is_kept_as_it_was_asked(shapes: Model, photos: Path, tmp_path: Path) -> None:
    spec = {"name": "shapes", "weights": None}
    found = run(shapes, photos, ("label",), ("rise:masks=4",), folder=tmp_path, spec=spec, sample=5, workers=0)
    told = json.loads((tmp_path / "run.json").read_text())
    known = [
        "model", "weights", "labels", "multi_label", "classes", "preprocess", "data", "opened", "layout", "split",
        "table", "sample", "seed", "pictures", "names", "targets", "methods", "layer", "part", "batch", "overlays",
    ]  # fmt: skip
    assert list(told) == [*known, "question", "answer", "spec", "versions"]
    assert told["weights"] == shapes.weights_hash
    assert (told["spec"], told["opened"], told["sample"], told["pictures"]) == (spec, str(photos), 5, 5)
    assert (told["layer"], told["table"], told["classes"], told["multi_label"]) == (None, None, 9, True)
    assert told["methods"][0][0] == "rise:masks=4"
    assert found.question == told
    # A data set that is opened by its path is known by that, whatever it is called.
    plain = {name: told[name] for name in known if name != "data"}
    assert told["question"] == hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
    names = "\0".join(found.data.names)
    assert told["names"] == hashlib.sha256(names.encode()).hexdigest()[:16]


def wrapped(code: Any, labels: str = "abc", **more: Any) -> Model:
    preprocess = Preprocess(size=(16, 16), fit="squash")
    return sightline.wrap(code, labels=list(labels), preprocess=preprocess, name="own", **more)


def pooled() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_what_only_code_or_labels_tell_apart_is_refused_too(tmp_path: Path) -> None:
    net = pooled()
    asked: dict[str, Any] = {"data": SCENES, "folder": tmp_path, "workers": 0, "part_size": 4}
    before = rows_of(run(wrapped(net), **asked))
    (tmp_path / "rows" / "part-000001.parquet").unlink()
    for other, name in (
        (wrapped(net, "abd"), "labels"),
        (wrapped(net, multi_label=True), "multi_label"),
        (wrapped(net, call=lambda module, image: -module(image)), "answer"),
    ):
        with pytest.raises(DataError, match=f"its {name} was"):
            run(other, **asked)
    kept = wrapped(net)
    assert kept.weights_hash
    first = net[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.data.mul_(-2)  # after the hash was taken
    with pytest.raises(DataError, match="its weights was"):
        run(kept, **asked)
    first.weight.data.div_(-2)
    assert rows_of(run(wrapped(net), **asked)) == before


def test_hardware_may_round_the_first_answer() -> None:
    question = {"opened": None, "data": "x", "answer": [10.0, -4.0]}
    check(question, question | {"answer": [10.1, -3.9]}, Path("run.json"))
    for other in ([10.3, -4.0], [10.0], None):
        with pytest.raises(DataError, match="its answer was"):
            check(question, question | {"answer": other}, Path("run.json"))
    check(question | {"opened": "a"}, question | {"opened": "a", "data": "./x"}, Path("run.json"))
    with pytest.raises(DataError, match="its data was"):
        check(question, question | {"data": "y"}, Path("run.json"))


def test_a_table_whose_labels_change_is_another_run(shapes: Model, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.jpg"))[:4]
    table = tmp_path / "own.csv"
    table.write_text("path,label\n" + "".join(f"{file},star\n" for file in files))
    run(shapes, table, "label", folder=tmp_path / "run", workers=0)
    table.write_text(table.read_text().replace("star", "cross", 1))
    with pytest.raises(DataError, match="its table was"):
        run(shapes, table, "label", folder=tmp_path / "run", workers=0)


def test_a_label_is_told_as_the_data_set_has_it(shapes: Model, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.jpg"))[:2]
    (tmp_path / "own.csv").write_text(f"path,label\n{files[0]},STAR|moon\n{files[1]},8\n")
    found = run(shapes, tmp_path / "own.csv", ["label", "predicted"], folder=tmp_path / "run", workers=0)
    rows = found.table(["asked", "label", "target", "error"]).to_pylist()
    assert [(row["asked"], row["label"], row["error"] is None) for row in rows] == [
        ("label", "STAR", True), ("label", "moon", False), ("predicted", None, True),
        ("label", "8", True), ("predicted", None, True),
    ]  # fmt: skip
    assert rows[0]["target"] == "star"


def test_the_callers_random_state_stays(shapes: Model, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    run(shapes, SCENES, folder=tmp_path, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_methods_of_one_title_and_what_is_no_target(shapes: Model, tmp_path: Path) -> None:
    one, two = (over_noise(method(f"rise:masks={masks}"), samples=masks) for masks in (2, 3))
    found = run(shapes, SCENES, [3, "predicted"], [one, two], folder=tmp_path / "both", workers=0)
    assert found.methods == ("rise:masks=2 over noise", "rise:masks=3 over noise")
    none = tmp_path / "none"
    with pytest.raises(MethodError, match="two different methods are called 'rise:masks=2 over noise'"):
        run(shapes, SCENES, 3, [one, replace(two, name=one.name)], folder=none)
    wrong: Any
    for wrong in ([None], [["star"]]):
        with pytest.raises(TargetError, match="is no target; expected predicted"):
            run(shapes, SCENES, wrong, folder=none)
    with pytest.raises(TargetError, match="own has no class names; give it labels"):
        run(wrapped(pooled(), ""), SCENES, "label", folder=none)
    for wrong in ({"batch_size": 2.5}, {"part_size": 0}, {"workers": -1}, {"actors": 2}):
        with pytest.raises(DataError, match="expected whole numbers|can't read|--engine ray"):
            run(shapes, SCENES, folder=none, **wrong)
    with pytest.raises(TypeError, match=r"run\(\) takes no 'nope'"):
        run(shapes, SCENES, folder=none, nope=1)
    assert not none.exists()


def test_an_explainer_finds_labels_whole(shapes: Model) -> None:
    explainer = Explainer(shapes, ("label",), (), "features", 0, 9)
    assert explainer.index("star") == shapes.labels.index("star")
    assert explainer.index("8") == 8
    assert (explainer.index("9"), explainer.index("sta"), explainer.index("")) == (None, None, None)
