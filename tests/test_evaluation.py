"""Evaluation: a net whose maps are known by hand, on pictures whose truth is known too."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sightline.errors import DataError, MethodError, MetricError, ModelError, TargetError
from sightline.evaluation import evaluate
from sightline.evaluation.report import page
from sightline.evaluation.table import RESAMPLES, Named, folded
from sightline.methods import method
from sightline.model import Model, Task
from sightline.preprocess import Preprocess
from sightline.targets import Labels
from sightline.trials import About, Better, Known, Metric, Sample, Trial, Truth, class_mean

SIDE = 32
COLOURS = {"red": 0, "green": 1, "blue": 2}


class Net(nn.Module):
    """The logit of a colour is its mean over the picture, so every map of it is that colour's channel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        self.features.load_state_dict({"weight": torch.eye(3)[:, :, None, None], "bias": torch.zeros(3)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images).mean((2, 3))


def net() -> Model:
    plain = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Model(module=Net().eval(), name="colours", preprocess=plain, labels=Labels(tuple(COLOURS)), layer="features")


class Squares:
    """Pictures of one or two coloured squares; `broken` places can't be read."""

    name = "squares"

    def __init__(self, count: int = 12, broken: tuple[int, ...] = (), knows: tuple[Known, ...] = (Known.BOXES,)):
        self.names = [f"{place}.png" for place in range(count)]
        self.broken, self.knows, self.problems = broken, frozenset(knows), ["notes.txt: no annotation"]
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> Sample:
        self.read.append(place)
        if place in self.broken:
            raise DataError(f"{self.names[place]}: its box is inverted")
        draw = np.random.default_rng(place)
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        truths = []
        for half, colour in enumerate(draw.permutation(list(COLOURS))[: 1 + place % 2]):
            x, y = 16 * half + int(draw.integers(8)), int(draw.integers(24))
            pixels[y : y + 6, x : x + 6, COLOURS[colour]] = 255
            truths.append(Truth(str(colour), ((x, y, x + 6, y + 6),)))
        silent = not self.knows & {Known.BOXES, Known.MASKS}
        return Sample(self.names[place], Image.fromarray(pixels), () if silent else tuple(truths))


def hit(trial: Trial) -> list[float]:
    """Whether the first highest pixel is in the truth's region."""
    heat = np.nan_to_num(trial.heat, nan=-1)
    assert trial.truth is not None
    return [float(trial.truth.region(trial.sample.picture.size).flat[heat.argmax()])]


def area(trial: Trial) -> list[float] | None:
    """Of red things nothing is said."""
    return None if trial.label == "red" else [float((trial.map > 0).float().mean())]


HIT = Metric("hit", hit, "here", "the peak is in the box", needs=Known.BOXES, more={"per class": class_mean})
AREA = Metric("area", area, "here", "share of the picture above zero", better=Better.NEITHER)


def test_figures_are_those_of_the_maps_known_by_hand() -> None:
    data = Squares()
    found = evaluate(net(), data, ["grad-cam", "layer-cam"], [HIT, AREA])
    row = found["grad-cam"]
    assert (found.pictures, row.maps, row.empty) == (12, 18, 0)
    assert row.figures["hit"].value == 1.0
    assert (row.figures["hit"].low, row.figures["hit"].high) == (1.0, 1.0)
    assert row.figures["hit"].more == {"per class": 1.0}
    assert row.figures["area"].value == pytest.approx(36 / SIDE**2, abs=1e-6)
    reds = sum(truth.label == "red" for place in range(12) for truth in data[place].truths)
    assert (row.figures["area"].judged, row.figures["area"].left_out) == (18 - reds, reds)
    assert row.tied == 18  # every pixel of a square is as red as the next
    assert found.problems == ("notes.txt: no annotation",)
    assert found["random"].control
    assert found["random"].figures["hit"].value < 0.5
    assert "grad-cam, weights drawn anew" in [each.name for each in found.rows]
    assert row.figures["hit"].unbeaten == ()
    assert row.figures["area"].unbeaten == ()
    assert not [name for name, value in found.disagreement if value > 1e-6]  # both have the same map here


def test_a_batch_is_judged_as_its_pictures_one_by_one(tmp_path: Path) -> None:
    model = net()
    kept = []
    for size in (1, 5, 12):
        folder = tmp_path / str(size)
        evaluate(model, Squares(), ["grad-cam", "rise:masks=9"], [HIT, AREA], batch_size=size, folder=folder)
        kept.append([json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()])
    for other in kept[1:]:
        for this, that in zip(kept[0], other, strict=True):
            assert this.get("asked") == that.get("asked")
            for name in this.get("rows", {}):
                assert this["rows"][name]["values"] == that["rows"][name]["values"], name


def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    data = Squares(broken=(1,))
    whole = evaluate(net(), Squares(broken=(1,)), metrics=[HIT, AREA], batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        evaluate(net(), data, metrics=[HIT, AREA], batch_size=3, folder=tmp_path, progress=stop)
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"picture": "6.png", "asked": [[0, "re')  # cut short, as by a power failure
    data.read.clear()
    told: list[tuple[int, int]] = []
    found = evaluate(
        net(), data, metrics=[HIT, AREA], batch_size=3, folder=tmp_path, progress=lambda *at: told.append(at)
    )
    assert sorted(data.read) == [1, *range(6, 12)]  # what failed is tried again, what was judged isn't
    assert found.facts() == whole.facts()
    assert told[-1] == (12, 12)
    again = evaluate(net(), Squares(broken=(1,)), metrics=[HIT, AREA], folder=tmp_path)
    assert again.facts() == whole.facts()


def test_a_folder_with_another_evaluation_is_refused(tmp_path: Path) -> None:
    evaluate(net(), Squares(), metrics=[HIT], folder=tmp_path)
    kept = (tmp_path / "trials.jsonl").read_bytes()
    with pytest.raises(MetricError, match=r"its seed was 0, now it is 1; choose another folder, or --fresh"):
        evaluate(net(), Squares(), metrics=[HIT], folder=tmp_path, seed=1)
    other = net()
    with torch.no_grad():
        other.module.features.weight[0, 0] = 2
    with pytest.raises(MetricError, match="its weights was"):
        evaluate(other, Squares(), metrics=[HIT], folder=tmp_path)
    assert (tmp_path / "trials.jsonl").read_bytes() == kept
    (tmp_path / "trials.jsonl").write_text("no JSON\n")
    with pytest.raises(MetricError, match="holds no evaluation"):
        evaluate(net(), Squares(), metrics=[HIT], folder=tmp_path)


def test_what_cannot_be_read_is_named_and_counted() -> None:
    found = evaluate(net(), Squares(broken=(0, 7)), metrics=[HIT])
    assert found.pictures == 10
    assert found.problems == (
        "notes.txt: no annotation", "0.png: its box is inverted", "7.png: its box is inverted",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"nothing in squares could be read; the first of 3 problems: notes\.txt"):
        evaluate(net(), Squares(2, broken=(0, 1)), metrics=[HIT])


def test_a_metric_that_needs_more_than_the_data_gives_is_refused_before_anything_is_read() -> None:
    data = Squares()
    masked = Metric("masked", hit, "here", "needs masks", needs=Known.MASKS)
    with pytest.raises(MetricError, match="masked needs masks, and squares gives boxes; leave it out"):
        evaluate(net(), data, metrics=[HIT, masked])
    assert not data.read
    with pytest.raises(MetricError, match="hit needs boxes, and squares gives classes"):
        evaluate(net(), Squares(knows=(Known.CLASSES,)), metrics=[HIT])
    evaluate(net(), Squares(3, knows=(Known.MASKS,)), metrics=[HIT], controls=False)  # masks have boxes


def test_classes_that_the_model_lacks_are_counted_and_all_lacking_is_an_error() -> None:
    model = net()
    few = Model(
        module=model.module,
        name="few",
        preprocess=model.preprocess,
        labels=Labels(("red", "green", "violet")),
        layer="features",
    )
    found = evaluate(few, Squares(), metrics=[HIT])
    blue = sum(truth.label == "blue" for place in range(12) for truth in Squares()[place].truths)
    assert found.unknown == {"blue": blue}
    assert found["grad-cam"].maps == 18 - blue
    none = Model(
        module=model.module,
        name="none",
        preprocess=model.preprocess,
        labels=Labels(("a1", "b1", "c1")),
        layer="features",
    )
    with pytest.raises(TargetError, match="none knows none of the classes in squares"):
        evaluate(none, Squares(), metrics=[HIT])


def test_a_class_is_meant_by_its_whole_name_only() -> None:
    """A data set's hot dog is none of the model's dogs."""
    model = net()
    named = Labels(("dark red", "green, lime", "blue"))
    other = Model(module=model.module, name="other", preprocess=model.preprocess, labels=named, layer="features")
    found = evaluate(other, Squares(), metrics=[HIT])
    red = sum(truth.label == "red" for place in range(12) for truth in Squares()[place].truths)
    assert found.unknown == {"red": red}
    assert found["grad-cam"].maps == 18 - red


def test_methods_that_are_not_defined_on_the_model_are_left_out(tmp_path: Path) -> None:
    for _ in range(2):  # judged, and read from the folder
        found = evaluate(net(), Squares(), ["attention-rollout", "grad-cam"], [HIT], folder=tmp_path)
        names = [row.name for row in found.rows]
        assert names[0] == "grad-cam"
        assert "attention-rollout" not in names
        assert len(found.refused) == 1
        assert "attention" in found.refused[0]
    with pytest.raises(MethodError, match="attention"):
        evaluate(net(), Squares(), ["attention-rollout"], [HIT])


def test_where_nothing_is_known_the_predicted_class_is_asked_about() -> None:
    found = evaluate(net(), Squares(knows=()), metrics=[AREA])
    row = found["grad-cam"]
    assert row.maps == 12
    assert found.unknown == {}


def test_a_metric_may_be_about_predictions_or_about_the_whole_picture() -> None:
    def present(trial: Trial) -> list[float]:
        return [float(trial.truth is not None), trial.rank]

    def together(trials: list[Trial]) -> dict[str, list[float]]:
        return {"all": [float(len(trials))]}

    predicted = Metric("predicted", present, "here", "of the best five", about=About.PREDICTED)
    whole = Metric("whole", together, "here", "of the picture", about=About.PICTURE)
    found = evaluate(net(), Squares(), metrics=[predicted, whole], controls=False)
    row = found["grad-cam"]
    assert row.maps == 36  # three classes, all among the best five
    assert row.figures["predicted"].value == pytest.approx(18 / 36)
    assert row.figures["whole"].value == pytest.approx(18 / 12)


def test_only_the_best_five_are_predicted() -> None:
    """Seven classes, of which the picture's own is the last; it is asked about, but it is no prediction."""
    wide = Net()
    wide.features = nn.Conv2d(3, 7, 1)
    with torch.no_grad():
        wide.features.weight.zero_()
        wide.features.bias.copy_(torch.arange(7.0).flip(0))
    names = (*(f"other{place}" for place in range(4)), "red", "green", "blue")
    model = Model(module=wide.eval(), name="wide", preprocess=net().preprocess, labels=Labels(names), layer="features")

    def rank(trial: Trial) -> list[float]:
        return [trial.rank]

    predicted = Metric("predicted", rank, "here", "of the best five", about=About.PREDICTED)
    found = evaluate(model, Squares(), metrics=[predicted], controls=False)["grad-cam"]
    assert found.figures["predicted"].judged == 5 * 12
    assert found.figures["predicted"].value == pytest.approx(2)


def test_small_values_keep_their_digits() -> None:
    tiny = Metric("tiny", lambda trial: [1.23456789e-12], "here", "a small number")
    assert evaluate(net(), Squares(2), metrics=[tiny], controls=False)["grad-cam"].figures[
        "tiny"
    ].value == pytest.approx(1.23456789e-12, rel=1e-6)


def test_the_interval_is_that_of_pictures_drawn_again() -> None:
    draw = np.random.default_rng(3)
    values = [[["a", [float(hit)]]] * (1 + n % 3) for n, hit in enumerate(draw.random(40) < 0.7)]
    lines = [{"rows": {"m": {"empty": [0], "tied": [0], "values": {"hit": each}}}} for each in values]
    by_mean = folded(lines, [Named("m", False)], [HIT], seed=0)[0].figures["hit"]
    own = Metric("hit", hit, "here", "by another function", total=lambda values, labels: values[:, 0].mean())
    by_draws = folded(lines, [Named("m", False)], [own], seed=0)[0].figures["hit"]
    assert (by_mean.low, by_mean.high) == pytest.approx((by_draws.low, by_draws.high))
    plain = [
        np.mean([number for n in draw.integers(40, size=40) for _, (number,) in values[n]])
        for _ in range(4 * RESAMPLES)
    ]
    low, high = np.percentile(plain, (2.5, 97.5))
    assert by_mean.low == pytest.approx(low, abs=0.02)
    assert by_mean.high == pytest.approx(high, abs=0.02)
    assert by_mean.low < by_mean.value < by_mean.high


def test_a_method_is_compared_with_controls_on_the_same_draws() -> None:
    """A tenth better on every picture is sure, however much pictures differ; better on half of them isn't."""

    def line(n: int) -> dict[str, object]:
        low = n / 20
        values = {"steady": low + 0.1, "fickle": low + 0.1 * (-1) ** n, "control": low, "never": None}
        return {"rows": {name: {"empty": [0], "tied": [0], "values": {"hit": [["a", v if v is None else [v]]]}}
                         for name, v in values.items()}}  # fmt: skip

    named = [Named("steady", False), Named("fickle", False), Named("control", True), Named("never", True)]
    steady, fickle, control, never = folded([line(n) for n in range(20)], named, [HIT], seed=0)
    assert steady.figures["hit"].unbeaten == ()
    assert fickle.figures["hit"].unbeaten == ("control",)
    assert control.figures["hit"].unbeaten == ()
    assert never.figures["hit"].value is None
    assert never.figures["hit"].left_out == 20
    assert steady.figures["hit"].low < control.figures["hit"].high  # which intervals side by side wouldn't tell
    lower = Metric("hit", hit, "here", "the lower the better", better=Better.LOWER)
    steady = folded([line(n) for n in range(20)], named, [lower], seed=0)[0]
    assert steady.figures["hit"].unbeaten == ("control",)


def test_values_that_are_not_finite_are_not_judged() -> None:
    broken = Metric("broken", lambda trial: [float("nan")], "here", "gives NaN")
    found = evaluate(net(), Squares(), metrics=[broken], controls=False)
    assert (found["grad-cam"].figures["broken"].judged, found["grad-cam"].figures["broken"].left_out) == (0, 18)
    assert found["grad-cam"].figures["broken"].value is None


def test_the_model_is_left_as_it_was_found() -> None:
    model = net()
    model.module.train()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    evaluate(model, Squares(), ["grad-cam", "guided-backprop"], [HIT])
    assert model.module.training
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not model.module._forward_hooks
    assert not model.module.features._forward_hooks


def test_every_picture_is_attacked_first_where_asked() -> None:
    asked: list[float] = []

    def probability(trial: Trial) -> list[float]:
        asked.append(float(trial.logits(trial.image[None])[0].softmax(0)[2]))
        return [0.0]

    spy = Metric("spy", probability, "here", "the attacked class's probability")
    plain = evaluate(net(), Squares(), metrics=[spy], controls=False)
    before = max(asked)
    asked.clear()
    found = evaluate(net(), Squares(), metrics=[spy], controls=False, attack="blue")
    blue = sum(any(truth.label == "blue" for truth in Squares()[place].truths) for place in range(12))
    assert found.pictures == 12 - blue
    assert found.fooled == 0  # a mean can't be moved that far
    assert plain.fooled is None
    assert len(asked) < len(Squares()) * 2
    assert min(asked) > 0.3
    assert before < 1


def test_the_report_is_one_page_that_escapes_names() -> None:
    data = Squares()
    data.name = "<squares> & more"
    rows = [method("grad-cam"), method("layer-cam")]
    model = net()
    found = evaluate(model, data, rows, [HIT, AREA])
    html = page(found, model, data, rows)
    assert "&lt;squares&gt; &amp; more" in html
    assert "<squares>" not in html
    assert html.count("data:image/jpeg;base64,") >= 3
    assert "http" not in html.replace("http-equiv", "")
    assert "per class" in html
    for row in found.rows:
        assert f"<td>{row.name}</td>" in html


def test_a_model_that_gives_no_classes_is_not_judged() -> None:
    with pytest.raises(ModelError, match="methods are judged by their maps of classes, and colours gives boxes"):
        evaluate(replace(net(), task=Task.BOXES), Squares(2))
