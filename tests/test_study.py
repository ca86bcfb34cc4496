"""Studies up to the answers: trials are balanced, blind and true to their key, and no answer is lost."""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import DataError
from sightline.geometry import Framing
from sightline.render import overlay
from sightline.runs.kept import Run
from sightline.runs.store import Store, write_part
from sightline.study import Answer, Kind, Study, build
from sightline.study.answers import add, done, place, read, take
from sightline.study.export import export
from sightline.study.plan import drawn, orders
from sightline.study.server import Server, page
from sightline.study.shown import encoded
from sightline.trials import Known, Sample, Truth

CLASSES = ("bird", "boat", "car", "cat", "dog")
METHODS = ("grad-cam", "hires-cam", "saliency")  # coarse, signed and fine
CELLS = {"grad-cam": (4, 6), "hires-cam": (4, 6), "saliency": (48, 72)}
SIZE = 72, 48
SEEN = 4.0, 0.0, 68.0, 48.0


class Photos:
    """Pictures of noise, each with the classes that it is given."""

    name, knows, problems = "photos", frozenset([Known.CLASSES]), ()

    def __init__(self, classes: list[tuple[str, ...]]) -> None:
        self.classes, self.names = classes, [f"photo-{n:03}" for n in range(len(classes))]
        self.read = Counter[int]()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, nth: int) -> Sample:
        self.read[nth] += 1
        pixels = np.random.default_rng(nth).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        return Sample(self.names[nth], Image.fromarray(pixels), tuple(map(Truth, self.classes[nth])))


def pairs(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    random = Random(seed)
    return [tuple(random.sample(CLASSES, 2)) for _ in range(count)]


def kept(
    folder: Path,
    photos: Photos,
    *,
    model: str = "net",
    wrong: tuple[int, ...] = (),
    without: tuple[tuple[int, str], ...] = (),
    content: str = "hash",
    seed: int = 0,
) -> Run:
    """A run as `sightline run --target label` writes it, with maps of noise; `wrong` about some pictures."""
    methods = [[name, {}] for name in METHODS]
    question = {"model": model, "weights": model * 2, "data": photos.name, "methods": methods, "layer": "features"}
    question |= {"preprocess": "Preprocess(size=(48, 64), fit='crop')", "question": "0123456789abcdef", "opened": None}
    random = np.random.default_rng(seed)
    rows = []
    for nth, labels in enumerate(photos.classes):
        predicted = CLASSES.index(labels[0]) if nth not in wrong else CLASSES.index(labels[0]) - 1
        for label in labels:
            for method in METHODS:
                high, wide = CELLS[method]
                map_ = random.normal(size=(high, wide)).astype(np.float16)
                if method != "hires-cam":
                    map_ = abs(map_)
                error = "no map" if (nth, method) in without or label not in CLASSES else None
                rows.append(
                    {
                        "place": nth, "picture": photos.names[nth], "content": f"{content} {nth}", "width": SIZE[0],
                        "height": SIZE[1], "labels": list(labels), "predicted": predicted,
                        "predicted_name": CLASSES[predicted], "correct": CLASSES[predicted] in labels,
                        "asked": "label", "target": label, "method": method,
                        "index": None if error else CLASSES.index(label),
                        "map": None if error else map_.ravel(), "map_height": high, "map_width": wide,
                        "scale": 2.0, "seen": SEEN, "error": error,
                    }
                )  # fmt: skip
    Store(folder, question, 1)
    write_part(folder, 0, rows)
    return Run(folder, photos)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twenty pictures with two classes, and some with one or three, or without a map, or with a class unknown."""
    classes = [*pairs(20), ("bird",), ("bird", "boat", "car"), ("cat", "dog"), ("bird", "boat", "zebra")]
    return kept(tmp_path_factory.mktemp("run"), Photos(classes), without=((22, "saliency"),))


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "study"
    build(run, folder, kind="discrimination", count=12, participants=7, seed=3)
    return folder


@pytest.fixture
def study(folder: Path, tmp_path: Path) -> Path:
    """A study of one's own, without answers."""
    own = tmp_path / "own"
    own.mkdir()
    for file in ("study.json", "key.json"):
        (own / file).write_bytes((folder / file).read_bytes())
    (own / "pictures").symlink_to(folder / "pictures")
    return own


def slow_overlay(run: Run, picture: str, target: str, method: str) -> Image.Image:
    """The overlay that belongs to a map, made from the run's columns alone."""
    row = next(r for r in run.rows(method) if (r["picture"], r["target"]) == (picture, target))
    scale = 480 / SIZE[0]
    size = 480, round(SIZE[1] * scale)
    framing = Framing(picture=size, image=(64, 48), seen=tuple(edge * scale for edge in SEEN))  # type: ignore[arg-type]
    heat = framing.to_picture(row.map).numpy()
    photo = run.data[run.data.names.index(picture)].picture.resize(size, Image.Resampling.LANCZOS)
    if method == "grad-cam":
        return overlay(photo, heat - np.nanmin(heat))
    if method == "hires-cam":
        return overlay(photo, heat, signed=True)
    return overlay(photo, heat - np.nanmin(heat), fine=True)


def test_the_pictures_are_those_with_exactly_two_classes_that_every_method_explains(run: Run, folder: Path) -> None:
    study = Study.load(folder)
    shown = {key.picture for key in study.key.values()}
    assert len(shown) == 12
    assert shown <= {f"photo-{n:03}" for n in range(20)}
    with pytest.raises(DataError, match=r"20 pictures of the run in .* exactly two classes.*; the study needs 21"):
        build(run, folder.with_name("more"), kind="discrimination", count=21)
    two = build(run, folder.with_name("two"), kind="discrimination", methods=("grad-cam", "hires-cam"), count=21)
    assert "photo-022" in {key.picture for key in two.key.values()}  # only the third method has no map of it


def test_each_picture_is_shown_with_either_class_by_each_method(folder: Path) -> None:
    study = Study.load(folder)
    assert len(study.trials) == 12 * 2 * 3
    assert study.key.keys() == {trial.id for trial in study.trials}
    times = Counter((key.picture, key.item, key.method) for key in study.key.values())
    assert set(times.values()) == {1}
    assert set(Counter(key.item for key in study.key.values()).values()) == {3}
    for trial in study.trials:
        key = study.key[trial.id]
        assert key.item == f"{key.picture}: {trial.options[key.right]}"
        assert len(set(trial.options)) == 2


def test_right_answers_classes_and_places_are_balanced(folder: Path) -> None:
    study = Study.load(folder)
    for method in METHODS:
        right = Counter(key.right for key in study.key.values() if key.method == method)
        assert right == {0: 12, 1: 12}
    first = Counter(trial.options[0] for trial in study.trials)
    second = Counter(trial.options[1] for trial in study.trials)
    for name in CLASSES:
        assert abs(first[name] - second[name]) <= 6  # one picture's six trials


def test_classes_are_drawn_as_evenly_as_the_pictures_allow() -> None:
    classes = {f"common-{n}": ("a", "b") for n in range(50)} | {f"rare-{n}": ("c", "d") for n in range(3)}
    found = drawn(classes, 8, Random(0))
    assert len(set(found)) == 8
    assert Counter(name[:4] for name in found) == {"rare": 3, "comm": 5}


def test_no_order_shows_a_picture_twice_and_each_trial_is_shown_equally_often(folder: Path) -> None:
    study = Study.load(folder)
    assert len(study.orders) == 12  # seven participants, in rounds of six
    for order in study.orders:
        assert len({study.key[name].picture for name in order}) == len(order) == 12
        assert Counter(study.key[name].method for name in order) == dict.fromkeys(METHODS, 4)
        assert Counter(study.key[name].right for name in order) == {0: 6, 1: 6}
    assert set(Counter(name for order in study.orders for name in order).values()) == {2}
    for start in (0, 6):
        assert set(Counter(n for order in study.orders[start : start + 6] for n in order).values()) == {1}
    assert len(set(study.orders)) == 12


def test_orders_of_a_count_that_does_not_divide() -> None:
    trials = [[f"{picture}-{turn}" for turn in range(8)] for picture in range(45)]
    found = orders(trials, 72, Random(0))
    assert len(found) == 72
    assert set(Counter(name for order in found for name in order).values()) == {9}  # nine people for each, as the paper
    for order in found:
        turns = Counter(name.partition("-")[2] for name in order)
        assert {*turns.values()} <= {5, 6}
    assert len({order[0].partition("-")[0] for order in found}) > 20


@pytest.mark.parametrize("method", METHODS)
def test_every_picture_is_what_its_key_says(run: Run, folder: Path, method: str) -> None:
    study = Study.load(folder)
    trials = [trial for trial in study.trials if study.key[trial.id].method == method]
    for trial in trials:
        right = study.key[trial.id].right
        picture = study.key[trial.id].picture
        expected = slow_overlay(run, picture, trial.options[right], method)
        assert (folder / trial.pictures[0]).read_bytes() == encoded(expected)
    wrong = slow_overlay(run, picture, trial.options[1 - right], method)
    assert (folder / trial.pictures[0]).read_bytes() != encoded(wrong)
    loss = np.asarray(expected, float) - np.asarray(opened(folder / trial.pictures[0]), float)
    assert abs(loss).mean() < 6 < abs(np.asarray(expected, float) - np.asarray(wrong, float)).mean()


def test_nothing_that_is_given_out_tells_the_method_or_the_answer(run: Run, folder: Path) -> None:
    told = (folder / "study.json").read_text()
    assert not [word for word in (*METHODS, "photo", "right", "net", "features", "hash", "method") if word in told]
    assert not [word for word in (*METHODS, "photo-") if word in page()]
    study = Study.load(folder)
    assert all(re.fullmatch(r"[0-9a-f]{10}", trial.id) for trial in study.trials)
    assert all(re.fullmatch(r"pictures/[0-9a-f]{10}\.jpg", file) for t in study.trials for file in t.pictures)
    assert [trial.id for trial in study.trials] == sorted(trial.id for trial in study.trials)
    for trial in study.trials:
        data = (folder / trial.pictures[0]).read_bytes()
        assert segments(data) <= {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, tables, frame: neither EXIF nor a comment
        assert opened(folder / trial.pictures[0]).size == (480, 320)
        assert trial.id not in trial.pictures[0]


def opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def segments(jpeg: bytes) -> set[int]:
    """The markers before a JPEG's scan."""
    found, at = set(), 2
    while jpeg[at + 1] != 0xDA:
        found.add(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return found


def test_names_and_places_in_the_list_are_unrelated_to_methods(folder: Path) -> None:
    study = Study.load(folder)
    methods = [study.key[trial.id].method for trial in study.trials]
    runs = 1 + sum(a != b for a, b in pairwise(methods))
    assert runs > len(methods) / 2  # 72 trials of 3 methods: about 48 by chance, 3 if they lay in order


def test_the_same_seed_is_the_same_study_bit_for_bit(run: Run, folder: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    build(run, again, kind=Kind.DISCRIMINATION, count=12, participants=7, seed=3)
    build(run, other, kind=Kind.DISCRIMINATION, count=2, participants=7, seed=4)
    files = sorted(
        file.relative_to(folder) for file in folder.rglob("*") if file.is_file() and "sqlite" not in file.name
    )
    assert len(files) == 2 + 72
    assert all((again / file).read_bytes() == (folder / file).read_bytes() for file in files)
    assert (other / "study.json").read_bytes() != (folder / "study.json").read_bytes()
    assert not {f.name for f in (other / "pictures").iterdir()} & {f.name for f in (folder / "pictures").iterdir()}


def test_each_picture_is_read_once(tmp_path: Path) -> None:
    photos = Photos(pairs(4))
    build(kept(tmp_path / "run", photos), tmp_path / "study", kind="discrimination")
    assert set(photos.read.values()) == {1}


def test_a_study_says_what_it_is_made_of(folder: Path) -> None:
    facts = Study.load(folder).facts
    assert (facts["models"], facts["data"], facts["methods"]) == (["net"], "photos", list(METHODS))
    assert (facts["pictures"], facts["items"], facts["seed"]) == (12, 24, 3)


def test_a_study_is_not_written_over(run: Run, study: Path) -> None:
    add(study, Answer("anna", Study.load(study).trials[0].id, 1, 2.0, "2026-01-01T00:00:00+00:00"))
    with pytest.raises(DataError, match="holds a study already, with 1 answers"):
        build(run, study, kind="discrimination")


def test_what_cannot_be_built_is_said(run: Run, tmp_path: Path) -> None:
    for options, message in (
        ({"kind": "taste"}, "no kind of study 'taste'; choose discrimination or trust"),
        ({"kind": "trust"}, "compares two models"),
        ({"kind": "discrimination", "other": run}, "a discrimination study is of one run"),
        ({"kind": "discrimination", "methods": ("cam",)}, "no maps by 'cam'; it has grad-cam, hires-cam, saliency"),
        ({"kind": "discrimination", "methods": ("grad-cam", "grad-cam")}, "each once"),
        ({"kind": "discrimination", "count": 0}, "a study of 0 pictures"),
        ({"kind": "discrimination", "participants": 0}, "0 participants"),
        ({"kind": "trust", "other": run}, "both models are right about .*--better"),
    ):
        with pytest.raises(DataError, match=message):
            build(run, tmp_path / "study", **options)  # type: ignore[arg-type]
        assert not (tmp_path / "study").exists()


def test_pictures_that_are_not_what_they_were_are_refused(run: Run, tmp_path: Path) -> None:
    moved = Photos(pairs(24))
    moved.names = moved.names[::-1]
    with pytest.raises(DataError, match=r"isn't in its place in photos any more, but photo-"):
        build(Run(run.folder, moved), tmp_path / "study", kind="discrimination")


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    photos = Photos([(name,) for name in CLASSES * 3])
    first = kept(tmp_path_factory.mktemp("first"), photos, model="worse", wrong=(0, 1, 2, 3))
    return first, kept(tmp_path_factory.mktemp("second"), photos, model="better", wrong=(3, 4), seed=1)


def test_trust_is_of_pictures_that_both_models_name_rightly(robots: tuple[Run, Run], tmp_path: Path) -> None:
    study = build(robots[0], tmp_path / "study", kind="trust", other=robots[1])
    assert {key.picture for key in study.key.values()} == {f"photo-{n:03}" for n in range(5, 15)}
    assert len(study.trials) == 10 * 3
    assert (study.facts["better"], study.facts["better_by"]) == ("better", "by accuracy in the runs")
    assert study.facts["accuracies"] == [11 / 15, 13 / 15]
    given = build(robots[0], tmp_path / "given", kind="trust", other=robots[1], better=0, count=1)
    assert (given.facts["better"], given.facts["better_by"]) == ("worse", "as given")


def test_the_better_model_is_on_either_side_equally_often_and_its_key_says_so(
    robots: tuple[Run, Run], tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    study = build(robots[0], folder, kind="trust", other=robots[1], seed=5)
    sides = Counter()
    for trial in study.trials:
        key = study.key[trial.id]
        name = CLASSES[int(key.picture[-3:]) % 5]
        assert trial.about == f"Both robots say: {name}"
        shown = [(folder / file).read_bytes() for file in trial.pictures]
        one, other = (encoded(slow_overlay(run, key.picture, name, key.method)) for run in robots)
        assert shown in ([one, other], [other, one])
        left_is_better = shown == [other, one]  # the second run's model is the better one
        assert key.values == ((2, 1, 0, -1, -2) if left_is_better else (-2, -1, 0, 1, 2))
        sides[key.method, left_is_better] += 1
    assert set(sides.values()) == {5}
    assert "clearly" in trial.options[0]
    assert trial.options[0].startswith("Robot A")
    assert trial.options[-1].startswith("Robot B")
    assert all(len({study.key[name].picture for name in order}) == 10 for order in study.orders)


def test_runs_over_other_pictures_are_not_compared(robots: tuple[Run, Run], run: Run, tmp_path: Path) -> None:
    alien = kept(tmp_path / "alien", Photos([("dog",)]), model="alien")  # its photo-000 is a bird of the others
    with pytest.raises(DataError, match="0 pictures are in both .* the study needs 1"):
        build(robots[1], tmp_path / "study", kind="trust", other=alien, better=0)
    changed = kept(tmp_path / "changed", Photos([(name,) for name in CLASSES * 3]), content="another hash")
    with pytest.raises(DataError, match="no labelled picture in common"):
        build(robots[1], tmp_path / "study", kind="trust", other=changed)


def answer(study: Study, nth: int = 0, participant: str = "anna", option: int = 1) -> Answer:
    return Answer(participant, study.trials[nth].id, option, 2.5, "2026-01-01T10:00:00.000+00:00")


def test_the_first_answer_counts(study: Path) -> None:
    whole = Study.load(study)
    assert read(study) == []
    assert not (study / "answers.sqlite").exists()  # reading makes nothing
    assert add(study, answer(whole))
    assert not add(study, answer(whole, option=0))
    assert add(study, answer(whole, participant="ben", option=0))
    assert read(study) == [answer(whole), answer(whole, participant="ben", option=0)]
    assert done(study, "anna") == [whole.trials[0].id]


def test_each_participant_has_a_place_of_their_own(study: Path) -> None:
    found: dict[str, int] = {}

    def come(name: str) -> None:
        found[name] = place(study, name)

    threads = [threading.Thread(target=come, args=(f"p{n}",)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.values()) == list(range(24))
    assert {name: place(study, name) for name in found} == found


def test_the_table_is_the_one_that_is_documented(study: Path) -> None:
    add(study, answer(Study.load(study)))
    with sqlite3.connect(study / "answers.sqlite") as table:
        columns = [row[1:3] for row in table.execute("PRAGMA table_info(answers)")]
        mode = table.execute("PRAGMA journal_mode").fetchone()
    table.close()
    assert columns == [
        ("participant", "TEXT"), ("trial", "TEXT"), ("answer", "INTEGER"), ("seconds", "REAL"), ("at", "TEXT"),
    ]  # fmt: skip
    assert mode == ("wal",)


def test_a_broken_file_of_answers_is_one_line(study: Path) -> None:
    (study / "answers.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"answers\.sqlite can't be read or written"):
        read(study)


def test_answers_are_brought_in_and_what_is_wrong_is_told(study: Path, tmp_path: Path) -> None:
    whole = Study.load(study)
    ids = [trial.id for trial in whole.trials]
    at = "2026-01-01T12:00:00+02:00"
    good = {"participant": "anna", "answers": [{"trial": i, "answer": 1, "seconds": 2.5, "at": at} for i in ids[:3]]}
    bad = {
        "participant": "ben",
        "answers": [
            {"trial": ids[0], "answer": 0, "seconds": 1, "at": at},
            {"trial": "no such", "answer": 0, "seconds": 1, "at": at},
            {"trial": ids[1], "answer": 2, "seconds": 1, "at": at},
            {"trial": ids[1], "answer": True, "seconds": 1, "at": at},
            {"trial": ids[1], "answer": 0, "seconds": float("nan"), "at": at},
            {"trial": ids[1], "answer": 0, "seconds": -1, "at": at},
            {"trial": ids[1], "answer": 0, "seconds": 1, "at": "yesterday"},
            "nonsense",
        ],
    }
    files = [tmp_path / name for name in ("good.json", "list.json", "torn.json", "none.json", "mturk.csv")]
    files[0].write_text(json.dumps(good))
    files[1].write_text(json.dumps([bad, {"participant": "", "answers": []}, 3]))
    files[2].write_text(json.dumps(good)[:-9])
    turk = json.dumps({"participant": "A2X", "answers": good["answers"]}).replace('"', '""')
    files[4].write_text(f'"HITId","Answer.answers"\n"1","{turk}"\n"2","torn"\n')
    taken = take(study, files)
    assert (taken.added, taken.known) == (7, 0)
    problems = "\n".join(taken.problems)
    assert len(taken.problems) == 7 + 2 + 1 + 1 + 1
    for told in (
        "part 1, answer 2: trial \"no such\" is none of this study's", "answer 3: answer 2 to trial", "answer true",
        "seconds nan", "seconds -1", 'at "yesterday"', "answer 8: expected an object", 'participant ""',
        "part 3: expected an object", "torn.json is no JSON", "none.json can't be read", "mturk.csv, row 3",
    ):  # fmt: skip
        assert told in problems
    kept_ = {(a.participant, a.trial): a for a in read(study)}
    assert kept_["anna", ids[0]] == answer(whole)  # in UTC
    assert kept_["ben", ids[0]].answer == 0
    again = take(study, files[:1])
    assert (again.added, again.known, again.problems) == (0, 3, ())


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    with Server(folder, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def asked(
    server: Server | int, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str = ""
) -> tuple[int, bytes]:
    """The status and body of a reply over real HTTP; the path is sent as it stands."""
    port = server if isinstance(server, int) else server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    told = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method or ("GET" if body is None else "POST"), path, body, {**told, **(headers or {})})
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, data


def begun(server: Server | int, participant: str) -> tuple[int, bytes]:
    return asked(server, "/begin", {"participant": participant})


def test_whoever_only_looks_takes_nobodys_place(study: Path) -> None:
    """As crawlers and previews of links do, which get what an address says; a reload begins again, and goes on."""
    orders = Study.load(study).orders
    with serving(study) as server:
        assert [trial["id"] for trial in json.loads(begun(server, "anna")[1])["trials"]] == list(orders[0])
        for n in range(3):
            for path in (f"/?participant=bot{n}", f"/study?participant=bot{n}", f"/begin?participant=bot{n}"):
                status, text = asked(server, path)
                assert status == (404 if "begin" in path else 200)
                assert b'trials"' not in text
        for name, order in (("anna", 0), ("ben", 1), ("anna", 0)):
            assert [trial["id"] for trial in json.loads(begun(server, name)[1])["trials"]] == list(orders[order])
    assert (place(study, "cleo"), place(study, "ben")) == (2, 1)


def test_the_server_gives_out_the_page_the_trials_and_the_pictures(study: Path) -> None:
    whole = Study.load(study)
    with serving(study) as server:
        status, text = asked(server, "/")
        assert (status, text.decode()) == (200, page())
        assert not re.search(rb'(src|href)="(?!data:)', text)  # nothing from elsewhere
        public = json.loads(asked(server, "/study")[1])
        assert public == {
            "study": whole.name, "kind": "discrimination", "question": whole.question, "count": 12,
        }  # fmt: skip
        for nth, name in enumerate(("anna", "ben", "anna")):
            told = json.loads(begun(server, name)[1])
            assert [trial["id"] for trial in told["trials"]] == list(whole.orders[nth % 2])
            assert told["done"] == []
            assert told["trials"][0].keys() == {"id", "pictures", "options", "about"}
        file = told["trials"][0]["pictures"][0]
        assert asked(server, f"/{file}") == (200, (study / file).read_bytes())


def test_the_server_gives_out_nothing_else(study: Path) -> None:
    picture = Study.load(study).trials[0].pictures[0]
    (study / "pictures.txt").write_text("mine")
    with serving(study) as server:
        for path in (
            "/key.json", "/study.json", "/answers.sqlite", "/pictures", "/pictures/", "/pictures/../key.json",
            f"/{picture}/../../key.json", "/%2e%2e/key.json", "/pictures/..%2fkey.json", "//key.json", "/answer",
            "/pictures/none.jpg", "/.", "/..", "/page.html", f"/{picture}%00", "/pictures.txt", "http://x/key.json",
            "/STUDY", "/study/", "/study/../key.json", "\\key.json", "/" + "a" * 5000,
        ):  # fmt: skip
            status, data = asked(server, path)
            assert (path, status, data) == (path, 404, b'{"error": "nothing here"}')
        assert asked(server, "/key.json", {})[0] == 404
        for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
            assert asked(server, "/key.json", method=method)[0] == 501


def test_an_answer_is_kept_once_and_wrong_ones_are_refused(study: Path) -> None:
    whole = Study.load(study)
    mine, theirs = whole.orders[0], [t for t in whole.orders[1] if t not in whole.orders[0]]
    good = {"participant": "anna", "trial": mine[0], "answer": 1, "seconds": 1.25}
    with serving(study) as server:
        begun(server, "anna")
        assert json.loads(asked(server, "/answer", good)[1]) == {"kept": True, "new": True}
        assert json.loads(asked(server, "/answer", good | {"answer": 0})[1]) == {"kept": True, "new": False}
        for change in (
            {"trial": "none"}, {"trial": None}, {"trial": [1]}, {"trial": theirs[0]}, {"answer": 2}, {"answer": -1},
            {"answer": "1"}, {"answer": 1.0}, {"answer": True}, {"answer": None}, {"seconds": -0.1}, {"seconds": "1"},
            {"seconds": None}, {"seconds": 1e9}, {"seconds": float("nan")}, {"seconds": float("inf")},
            {"participant": ""}, {"participant": "a b"}, {"participant": "x" * 65}, {"participant": None},
            {"participant": "../anna"}, {"answer": 10**30}, {"seconds": True},
        ):  # fmt: skip
            status, data = asked(server, "/answer", good | change)
            assert (change, status) == (change, 400)
            assert json.loads(data)["error"]
        for body in (b"", b"{", b"[]", b"3", b'"text"', b"null", b"\xff\xfe", b"[" * 4000, b'{"a":1}'):
            assert (body, asked(server, "/answer", body)[0]) == (body, 400)
        assert asked(server, "/answer", b"x" * 5000)[0] == 413
        assert asked(server, "/answer", good, {"Content-Type": "text/plain"})[0] == 415
        assert asked(server, "/answer", good, {"Content-Length": "many"})[0] == 411
        assert asked(server, "/answer", good, {"Content-Length": "9" * 30})[0] == 413
        for name in ("", "a b", "x" * 65, "\0", None, 3):
            assert begun(server, name)[0] == 400
        for body in (b"", b"{", b"[]", b"3", b"null", b"{}"):
            assert (body, asked(server, "/begin", body)[0]) == (body, 400)
        assert json.loads(begun(server, "anna")[1])["done"] == [mine[0]]
    assert [(a.participant, a.trial, a.answer, a.seconds) for a in read(study)] == [("anna", mine[0], 1, 1.25)]


def test_answers_of_many_at_once_are_all_kept(study: Path) -> None:
    whole = Study.load(study)
    statuses: list[int] = []

    def take_part(server: Server, name: str) -> None:
        told = json.loads(begun(server, name)[1])
        for trial in told["trials"][:6]:
            sent = {"participant": name, "trial": trial["id"], "answer": 0, "seconds": 1}
            statuses.append(asked(server, "/answer", sent)[0])

    with serving(study) as server:
        threads = [threading.Thread(target=take_part, args=(server, f"p{n}")) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 72
    assert len(read(study)) == 72
    assert {a.trial for a in read(study)} <= {trial.id for trial in whole.trials}


def test_what_can_not_be_kept_is_not_acknowledged(study: Path) -> None:
    mine = Study.load(study).orders[0]
    troubles: list[str] = []
    with serving(study) as server:
        server.troubled = troubles.append
        begun(server, "anna")
        for file in study.glob("answers.sqlite*"):
            file.write_bytes(b"no database" * 1000)
        sent = {"participant": "anna", "trial": mine[0], "answer": 1, "seconds": 1}
        assert asked(server, "/answer", sent)[0] == 503
    assert "can't be read or written" in troubles[0]


def test_acknowledged_answers_outlive_a_kill(study: Path) -> None:
    order = Study.load(study).orders[0]
    code = (
        "import sys; from pathlib import Path; from sightline.study.server import Server\n"
        "server = Server(Path(sys.argv[1]), port=0); print(server.server_address[1], flush=True)\n"
        "server.serve_forever()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(study)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        port = int(process.stdout.readline())
        begun(port, "anna")
        for nth, trial in enumerate(order):
            sent = {"participant": "anna", "trial": trial, "answer": nth % 2, "seconds": nth}
            assert asked(port, "/answer", sent)[0] == 200
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert [(a.trial, a.answer, a.seconds) for a in read(study)] == [(t, n % 2, n) for n, t in enumerate(order)]
    with serving(study) as server:
        assert len(json.loads(begun(server, "anna")[1])["done"]) == 12
        assert json.loads(begun(server, "ben")[1])["trials"][0]["id"] in Study.load(study).orders[1]


def test_a_port_that_cannot_be_had_is_one_line(study: Path) -> None:
    with Server(study, port=0) as server, pytest.raises(DataError, match=r"port \d+ of 127.0.0.1 can't be had"):
        Server(study, port=server.server_address[1])
    with pytest.raises(DataError, match="port 70000"):
        Server(study, port=70000)
    with pytest.raises(DataError, match=r"no\.such\.host"):
        Server(study, host="no.such.host.invalid", port=0)
    with pytest.raises(DataError, match="holds no study"):
        Server(study / "pictures", port=0)


def test_the_exported_page_has_all_but_the_key(folder: Path, tmp_path: Path) -> None:
    whole = Study.load(folder)
    export(folder, tmp_path / "page")
    files = sorted(
        str(file.relative_to(tmp_path / "page")) for file in (tmp_path / "page").rglob("*") if file.is_file()
    )
    assert files == sorted(["index.html", *{file for trial in whole.trials for file in trial.pictures}])
    for file in files[1:]:
        assert (tmp_path / "page" / file).read_bytes() == (folder / file).read_bytes()
    text = (tmp_path / "page/index.html").read_text()
    inside = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])
    assert inside["orders"] == [list(order) for order in whole.orders]
    assert {trial["id"] for trial in inside["trials"]} == whole.key.keys()
    assert not any(word in text for word in (*METHODS, "photo-"))
    with pytest.raises(DataError, match="isn't empty"):
        export(folder, tmp_path / "page")


def test_a_class_whose_name_is_markup_stays_text(tmp_path: Path) -> None:
    study = build(kept(tmp_path / "run", Photos(pairs(2))), tmp_path / "study", kind="discrimination")
    file = tmp_path / "study/study.json"
    file.write_text(file.read_text().replace(study.trials[0].options[0], "</script><script>x()"))
    export(tmp_path / "study", tmp_path / "page")
    text = (tmp_path / "page/index.html").read_text()
    assert text.count("</script>") == 2
    assert "<script>x()" not in text


def test_the_commands(run: Run, robots: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {str(each.folder): each.data for each in (run, *robots)}
    opened = Run.__init__
    monkeypatch.setattr(Run, "__init__", lambda self, at: opened(self, at, data[str(at)]))
    study, trust = str(tmp_path / "study"), str(tmp_path / "trust")

    def command(*words: Any) -> str:
        return CliRunner().invoke(app, ["study", *map(str, words)], catch_exceptions=False).output

    told = command("build", run.folder, "-o", study, "--methods", "grad-cam,saliency", "--count", 5, "--seed", 2)
    assert "5 pictures of photos, 10 pairs of picture and class by 2 methods: 20 trials" in told
    assert "each of 36 participants sees 5 of them, no picture twice; then every trial has 9 answers" in told
    assert "keep key.json" in told
    told = command(
        "build", *(each.folder for each in robots), "--kind", "trust", "-o", trust, "--better", "first", "--count", 3
    )
    assert "the better model is worse, as given: worse 73.3%, better 86.7%" in told
    facts = json.loads(command("build", run.folder, "-o", tmp_path / "more", "--json", "--count", 2))
    assert (facts["trials"], facts["orders"], facts["items"]) == (12, 54, 4)
    assert "index.html and 20 pictures" in command("export", study, "-o", tmp_path / "page")
    with pytest.raises(DataError, match="better 'third'"):
        command("build", *(each.folder for each in robots), "--kind", "trust", "-o", trust, "--better", "third")


def test_serve_says_where_it_is_and_stops_cleanly(study: Path) -> None:
    add(study, answer(Study.load(study)))
    command = [sys.executable, "-m", "sightline", "study", "serve", str(study), "--port", "0"]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heard)
    assert process.stdout
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"discrimination study at http://127\.0\.0\.1:(\d+)/\n", line)
        assert found
        assert "1 answer so far" in process.stdout.readline()
        assert asked(int(found[1]), "/study")[0] == 200
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert (out, errors, process.returncode) == ("stopped with 1 answer\n", "", 0)
