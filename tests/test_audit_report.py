"""The audit's report: its figures are the audit's, its pictures show what they say, and it needs nothing else."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sightline
from sightline.audit import (
    Audit,
    Change,
    ClassAudit,
    Estimate,
    Example,
    Gap,
    Group,
    Hidden,
    Level,
    Look,
    Region,
    Share,
    Verdict,
    audit,
)
from sightline.audit.report import (
    BLUE,
    average,
    even,
    from_to,
    interval,
    outlined,
    page,
    percent,
    points,
    summary,
    times,
)
from sightline.audit.written import facts, write
from sightline.datasets import open_data
from sightline.runs import Run, run

DATA = "scenes:shortcut:count=6:rho=0:marker=random"
OBJECT, MARKER = Region("object", False), Region("marker", True)
NONE = Estimate(None, None, None, 0)
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


def estimate(value: float, spread: float = 0.02, count: int = 6) -> Estimate:
    return Estimate(value, value - spread, value + spread, count)


def group(name: str, marker: float, examples: tuple[Example, ...] = (), accuracy: float = 0.5) -> Group:
    """A group whose evidence lies half in the object, `marker` of it in the marker."""
    shares = (
        Share(OBJECT, estimate(0.5), 0.2, estimate(2.5)),
        Share(MARKER, estimate(marker), 0.025, estimate(marker / 0.025)),
    )
    return Group(name, 6, estimate(accuracy), shares, torch.rand(32, 32), None, examples)


def example(picture: str, index: int = 1) -> Example:
    return Example(picture, index, "star", "cross", False, 0.125, {"object": 0.5, "marker": None})


def one(name: str, index: int, level: Level, misplaced: float, examples: tuple[Example, ...] = ()) -> ClassAudit:
    effects = estimate(0.31), estimate(0.42), estimate(0.03), estimate(0.04), estimate(0.28), estimate(0.33)
    hidden = Hidden(MARKER, *effects, NONE)
    return ClassAudit(
        name, index, group("all", misplaced), group("right", 0.111), group("wrong", 0.222, examples, 0.0),
        (group("agrees=no", 0.0313), group("agrees=yes", 0.0717)),
        (group("cluster 1", 0.333), group("cluster 2", 0.4)), (hidden,),
        estimate(misplaced), Verdict(level, f"{name} is {level}."),
        Gap(MARKER, "agrees=yes", "agrees=no", Estimate(1.2, 0.9, 1.5, 6), 3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(sightline.load("shortcut-0.9-0"), DATA, ("label",), folder=tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def audited(kept: Run) -> Audit:
    classes = (
        one("star", 1, Level.BIASED, 0.41, (example("shortcut-test-0001"),)),
        one("cross", 0, Level.CLEAR, 0.0123),
    )
    trio = estimate(0.82), estimate(0.90), Estimate(0.08, 0.05, 0.11, 6)
    changes = (Change("all pictures", 6, trio, {"marker": (estimate(0.4), estimate(0.1), estimate(-0.3))}),)
    looks = tuple(
        Look(
            "p",
            0,
            "",
            (),
            {},
            index,
            "star" if index else "cross",
            "",
            None,
            None,
            None,
            {"object": (0.5, 0.2), "marker": None},
            (0.3, area),
        )
        for index, area in ((1, 0.02), (1, 0.03), (0, 0.04))
    )
    return Audit(
        kept.question, "grad-cam", (OBJECT, MARKER), "agrees", group("all", 0.2), (), classes, ("a.jpg can't be read",),
        {"model": "balanced", "weights": "0123"}, changes, looks,
    )  # fmt: skip


class Reader(HTMLParser):
    """A page's tables as rows of words, its text, and whether every element that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if self.open[-1:] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] = " ".join((self.rows[-1][-1] + " " + data).split())

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_every_figure_stands_where_it_belongs(audited: Audit, kept: Run) -> None:
    shown = Reader(page(audited, kept))
    assert shown.open == []
    assert ["star", "▲ biased", "41.0 % 39.0 to 43.0", "", "50.0 % 48.0 to 52.0", "6"] in shown.rows
    assert ["cross", "● clear", "1.2 % −0.8 to 3.2", "", "50.0 % 48.0 to 52.0", "6"] in shown.rows
    assert ["marker suspect", "20.0 % 18.0 to 22.0", "", "2.5 %", "8.00× 7.98 to 8.02", "6"] in shown.rows
    assert [
        "all pictures", "6", "82.0 % 80.0 to 84.0", "90.0 % 88.0 to 92.0", "+8.0 5.0 to 11.0",
        "40.0 % 38.0 to 42.0", "10.0 % 8.0 to 12.0", "−30.0 −32.0 to −28.0",
    ] in shown.rows  # fmt: skip
    assert [
        "marker suspect", "+31.0 29.0 to 33.0", "42.0 % 40.0 to 44.0", "+3.0 1.0 to 5.0", "4.0 % 2.0 to 6.0",
        "+28.0 26.0 to 30.0", "6",
    ] in shown.rows  # fmt: skip
    words = shown.words
    for title, share in (
        ("Predicted right", "11.1 %"), ("Predicted wrong", "22.2 %"), ("agrees=no", "3.1 %"), ("agrees=yes", "7.2 %"),
        ("cluster 1", "33.3 %"),
    ):  # fmt: skip
        assert re.search(rf"{title} 6 pictures.*? marker ([\d.]+ %)", words)[1] == share, title
    assert (
        "evidence / area of marker is 1.20× (0.90 to 1.50) higher in agrees=yes than in agrees=no , the largest of 3"
        in words
    )
    assert "✗ says cross, star 12.5 %" in words
    assert "a.jpg can't be read" in words


def test_the_summary_says_the_worst_and_what_changed(audited: Audit) -> None:
    assert summary(audited) == [
        "Of 2 classes 1 is biased (star) and 1 is clear.",
        "The worst is star: star is biased.",
        "Over all classes 20.0 % of the evidence (18.0 to 22.0) lies in marker, 8.00× its share of the area.",
        "Compared with balanced, accuracy goes from 82.0 % to 90.0 % (+8.0 points, 5.0 to 11.0) and evidence in marker "
        "from 40.0 % to 10.0 % (−30.0 points, −32.0 to −28.0).",
    ]


def test_the_worst_is_biased_before_it_is_high_in_the_ranking(audited: Audit, kept: Run) -> None:
    classes = (one("star", 1, Level.UNSURE, 0.41), one("cross", 0, Level.BIASED, 0.02))
    shown = replace(audited, classes=classes, changes=())
    assert summary(shown)[1].startswith("The worst is cross:")
    html = page(shown, kept, full=1)
    assert re.findall('id="class-(.*?)"', html) == ["1"]  # by its place in the ranking


def test_an_even_maps_share_is_the_mean_area_of_each_classes_rows(audited: Audit) -> None:
    assert even(audited) == {(1, "star"): pytest.approx(0.025), (0, "cross"): 0.04}
    assert even(replace(audited, looks=())) == {(1, "star"): None, (0, "cross"): None}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (percent(0.12345), "12.3 %"), (percent(NONE), "-"), (times(0.004), "0.00×"), (times(12.34), "12.3×"),
        (times(1234.0), "1234×"), (points(estimate(-0.05)), "−5.0"), (points(NONE), "-"), (interval(NONE), ""),
        (interval(Estimate(2.0, 1.5, 2.5, 3), 1), "1.50 to 2.50"),
        (from_to(NONE, estimate(0.5), NONE), "from - to 50.0 % (- points)"),
    ],
)  # fmt: skip
def test_figures_in_words(told: str, expected: str) -> None:
    assert told == expected


def test_bars_are_as_long_as_their_figures(audited: Audit, kept: Run) -> None:
    html = page(audited, kept)
    assert "bars to 50 %" in html
    for drawn in ("width:82.00%", "left:78.00%;right:calc(100% - 86.00%)", "left:5.00%", "width:2.46%", "left:0.00%;"):
        assert drawn in html, drawn


def test_examples_show_the_picture_its_map_and_the_regions(audited: Audit, kept: Run) -> None:
    suspects = {"marker": open_data(f"{DATA}:truth=marker")}
    html = page(audited, kept, {}, suspects)
    data = re.search(r'<img src="data:image/jpeg;base64,([^"]+)" alt="shortcut-test-0001', html)
    assert data
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB")).astype(int)
    assert shown.shape == (160, 160, 3)
    sample = suspects["marker"][1]
    marker = np.asarray(Image.fromarray(sample.truths[0].mask).resize((160, 160)))
    blue = np.abs(shown - BLUE).sum(-1) < 120
    ring = blue & marker
    assert ring.sum() > 40
    object_ = np.asarray(Image.fromarray(kept.data[1].truths[0].mask).resize((160, 160)))
    assert (np.abs(shown - 255).sum(-1) < 90)[object_].sum() > 80


def test_an_outline_is_drawn_inside_its_mask_and_a_rim_outside() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 4:16] = True
    shown = np.asarray(outlined(Image.new("RGB", (20, 20), (90, 90, 90)), mask, (255, 255, 255)))
    white, dark = (shown == 255).all(-1), (shown == 24).all(-1)
    inner = np.zeros_like(mask)
    inner[7:13, 6:14] = True
    assert np.array_equal(white, mask & ~inner)
    assert not (dark & mask & ~inner).any()
    assert dark[4, 4:16].all()
    empty = Image.new("RGB", (20, 20), (90, 90, 90))
    assert np.array_equal(np.asarray(outlined(empty, np.zeros_like(mask), BLUE, dashed=True)), np.asarray(empty))


def test_an_average_map_is_brightest_where_it_is_highest() -> None:
    heat = torch.zeros(32, 32)
    heat[24, 8] = 2.0
    drawn = Image.open(io.BytesIO(base64.b64decode(average(heat).split(",")[1])))
    levels = np.asarray(drawn)
    assert np.array(np.unravel_index(levels.argmax(), levels.shape)) == pytest.approx([85.5, 29.5], abs=1)
    assert levels.max() == 255
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(average(heat * 0).split(",")[1])))) == 0).all()


def test_the_page_needs_nothing_else_and_escapes_what_it_is_told(audited: Audit, kept: Run) -> None:
    name = "<script>alert('x')</script> & " + "long_" * 60
    evil = replace(
        audited, classes=(replace(audited.classes[0], name=name, verdict=Verdict(Level.BIASED, "<b>&</b>")),),
        problems=("<img src=x onerror=alert(1)>",), by="<i>",
    )  # fmt: skip
    html = page(evil, kept)
    shown = Reader(html)
    assert all(link.startswith(("data:image/", "#")) for link in shown.links)
    assert "url(" not in html
    assert "<script" not in html
    assert "<b>&" not in html
    assert "onerror=alert(1)>" not in html
    assert name in "".join(shown.text)


def test_a_thousand_classes_are_ranked_and_the_worst_are_shown(audited: Audit, kept: Run) -> None:
    classes = tuple(
        replace(one(f"class {n}", n, Level.CLEAR, 0.9 - n / 2000), right=group("right", 0.1)) for n in range(1000)
    )
    html = page(replace(audited, classes=classes), kept, full=3)
    assert html.count('<details class="class"') == 3
    assert "950 more classes" in html
    assert [row[0] for row in Reader(html).rows if row and row[0].startswith("class ")] == [c.name for c in classes]
    assert len(html) < 2e6


def test_nothing_known_and_no_pictures_is_said(audited: Audit, kept: Run, tmp_path: Path) -> None:
    bare = Group("all", 0, NONE, (), None, None, ())
    unknown = ClassAudit("star", 1, bare, bare, bare, (), (), (), NONE, Verdict(Level.UNKNOWN, "Nobody can say."))
    shown = replace(audited, regions=(), everything=bare, classes=(unknown,), changes=(), before=None, by=None)
    assert summary(shown)[0] == "Of 1 class none can be judged."
    assert "Nothing says where the evidence should lie" in Reader(page(shown, kept)).words
    assert "No class has a picture" in page(replace(shown, classes=()), kept)
    gone = Run(kept.folder)
    gone.question["opened"] = str(tmp_path / "gone")
    html = page(audited, gone)
    assert "can't be opened" in Reader(html).words
    assert "data:image/jpeg" in html


def test_the_figures_are_values_of_json(audited: Audit, tmp_path: Path) -> None:
    found = replace(audited, everything=replace(audited.everything, accuracy=Estimate(float("nan"), None, None, 0)))
    read = json.loads(json.dumps(facts(found), allow_nan=False))
    assert read["classes"][0]["misplaced"] == pytest.approx({"value": 0.41, "low": 0.39, "high": 0.43, "count": 6})
    assert read["classes"][0]["verdict"]["level"] == "biased"
    assert read["classes"][0]["hidden"][0]["beyond"]["value"] == 0.28
    assert read["classes"][0]["wrong"]["examples"][0]["picture"] == "shortcut-test-0001"
    assert read["everything"]["accuracy"]["value"] is None
    assert "average" not in read["everything"]
    assert read["changes"][0]["evidence"]["marker"][2]["value"] == -0.3
    write(audited, tmp_path / "audit", "<p>")
    assert sorted(file.name for file in (tmp_path / "audit").iterdir()) == [
        "audit.json", "evidence.parquet", "report.html",
    ]  # fmt: skip


def test_what_is_against_a_class_has_pictures_and_figures_of_its_own(tmp_path: Path) -> None:
    made = run(sightline.load("shortcut-0.9-0"), DATA, ("cross", "not:cross"), folder=tmp_path)
    suspects = {"marker": open_data(f"{DATA}:truth=marker")}
    found = audit(made, suspects=suspects, clusters=False, top=6)
    shown = page(found, made, {}, suspects)
    names = re.findall(r'<img src="(data:image/jpeg[^"]+)" alt="([^:]+): where the model looks for ([^"]+)"', shown)
    by = {(picture, target): data for data, picture, target in names}
    both = {picture for picture, _ in by}
    assert both
    for picture in both:
        assert by[picture, "cross"] != by[picture, "against cross"]
    assert sorted(re.findall('id="class-(.*?)"', shown)) == ["0", "1"]
    assert set(even(found)) == {(0, "cross"), (0, "against cross")}
