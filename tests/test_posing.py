"""Questions in words, put to toy models of every task: names, scores and maps are those worked out by hand."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import speakers
import torch
from PIL import Image
from torch.testing import assert_close

import sightline
from sightline.errors import ModelError, PictureError, SightlineError, TargetError
from sightline.posing import KINDS


@pytest.fixture
def picture() -> Image.Image:
    """32 x 32, cells of 8: red in the cell (1, 0) from the left and top, green in (3, 2), paler and half as tall."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0:8, 8:16, 0] = 255
    pixels[16:24, 24:32, 1] = 204
    return Image.fromarray(pixels)


def peak(why: sightline.Explanation) -> tuple[int, int]:
    """The cell (across, down) of the map's highest value."""
    place = int(why.maps[0].argmax())
    return place % 4, place // 4


RED, GREEN = (1, 0), (3, 2)


def test_a_caption_is_explained_as_a_whole_and_word_by_word(picture: Image.Image) -> None:
    why = sightline.explain(speakers.captioner(), picture)
    assert why.said == "red and green"
    assert [asked.name for asked in why.asked] == ['"red and green"', "red", "and", "green"]
    assert peak(why["red"]) == RED
    assert peak(why["green"]) == GREEN
    assert why.scores[0] == pytest.approx(sum(why.scores[1:]) + _end(picture), rel=1e-5)
    assert why.probabilities[1] == pytest.approx(math.exp(why.scores[1]))


def _end(picture: Image.Image) -> float:
    """The log-probability that the sentence ends after three words."""
    model = speakers.captioner()
    assert model.writer is not None
    image = model.preprocess(picture)[None]
    output = model.writer.reading([1, 4, 2, 0])(image)
    return float(output.detach().log_softmax(2)[0, 3, 0])


def test_a_word_is_asked_about_by_number_or_by_itself(picture: Image.Image) -> None:
    model = speakers.captioner()
    third = sightline.explain(model, picture, "word:3")
    assert_close(sightline.explain(model, picture, "word:green").maps, third.maps)
    assert_close(sightline.explain(model, picture, "green").maps, third.maps)
    with pytest.raises(TargetError, match=r"'4' fits no word of what was written: 1 red, 2 and, 3 green; give"):
        sightline.explain(model, picture, "word:4")


def test_a_sentence_of_ones_own_takes_the_place_of_the_models(picture: Image.Image) -> None:
    why = sightline.explain(speakers.captioner(), picture, ["word:1", "word:2 "], text="green green")
    assert why.said == "green green"
    assert [asked.name for asked in why.asked] == ["green (word 1)", "green (word 2)"]
    assert peak(why[0]) == GREEN
    with pytest.raises(TargetError, match="unknown word 'dog'"):
        sightline.explain(speakers.captioner(), picture, "caption", text="dog")


def test_what_speaks_against_a_word_and_for_one_word_more_than_another(picture: Image.Image) -> None:
    model = speakers.captioner()
    both = sightline.explain(model, picture, ["word:1-vs:word:3", "not:word:1"], method="hires-cam")
    red, green = sightline.explain(model, picture, ["word:1", "word:3"], method="hires-cam")
    assert_close(both.maps[0], red.maps[0] - green.maps[0])
    assert_close(both.maps[1], -red.maps[0])
    assert [asked.name for asked in both.asked] == ["red and not green", "against red"]
    assert both.probabilities == (None, None)


@pytest.mark.parametrize(("question", "said", "place"), [("most?", "red", RED), ("the least?", "blue", None)])
def test_an_answer_is_explained_under_its_question(
    picture: Image.Image, question: str, said: str, place: tuple[int, int] | None
) -> None:
    why = sightline.explain(speakers.answerer(), picture, question=question)
    assert (why.said, why.question, why.name) == (said, question, said)
    assert place is None or peak(why) == place
    assert why.facts()["question"] == question
    again = sightline.explain(speakers.answerer(), picture, ["answer", "answer:green", "not:green"], question=question)
    assert [asked.name for asked in again.asked] == [said, "green", "against green"]
    assert_close(again.maps[0], why.maps[0])
    checks = {check.name: check.passed for check in again[0].check().checks}
    assert place is None or checks["class"] is not None, "an answer is a class like any other"
    assert again.probabilities[0] == pytest.approx(why.probabilities[0])


def test_a_model_that_answers_wants_a_question_and_others_want_none(picture: Image.Image) -> None:
    with pytest.raises(ModelError, match="answerer answers questions; ask one with --question"):
        sightline.explain(speakers.answerer(), picture)
    with pytest.raises(ModelError, match="Segmenter answers no questions in words; leave the question out"):
        sightline.explain(speakers.segmenter(), picture, question="why?")


def test_a_segmentation_is_asked_about_what_it_sees_most_of(picture: Image.Image) -> None:
    why = sightline.explain(speakers.segmenter(), picture, method="hires-cam")
    assert why.said == "background 88%, red 6%, green 6%"
    assert why.name == "red"
    assert why.scores == pytest.approx((10.0,))
    assert_close(why.maps[0], torch.zeros(4, 4).index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(10.0)))
    assert [asked.name for asked in sightline.explain(speakers.segmenter(), picture, "top:5").asked] == ["red", "green"]


def test_a_class_a_piece_a_pixel_and_a_mask(picture: Image.Image, tmp_path: Path) -> None:
    model = speakers.segmenter()
    mask = np.zeros((32, 32), np.uint8)
    mask[16:24, 16:32] = 1  # the green cell and one beside it
    Image.fromarray(mask).save(tmp_path / "mask.png")
    file = tmp_path / "mask.png"
    asked = ["green", "object:26,20", "pixel:26,20:green", f"region:{file}", f"region:{file}:red"]
    why = sightline.explain(model, picture, asked, method="hires-cam")
    assert [one.name for one in why.asked] == [
        "green", "green at 26,20", "green at pixel 26,20", "green in mask.png", "red in mask.png",
    ]  # fmt: skip
    assert why.scores == pytest.approx((8, 8, 8, 4, 0))
    assert_close(why.maps[:3, 2, 3], torch.full((3,), 8.0))
    assert all(float(each.abs().sum()) == pytest.approx(8) for each in why.maps[:3])
    assert float(why.maps[3].sum()) == pytest.approx(4)


def test_pieces_of_one_class_are_told_apart() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0:8, 0:8, 0] = pixels[24:32, 24:32, 0] = 255
    why = sightline.explain(
        speakers.segmenter(), Image.fromarray(pixels), ["object:4,4", "object:28,28:red", "red"], method="hires-cam"
    )
    assert why.maps[0, 0, 0] == 10
    assert why.maps[0, 3, 3] == 0
    assert why.maps[1, 3, 3] == 10
    assert why.maps[2, 0, 0] == why.maps[2, 3, 3] == 5


def test_cells_that_touch_at_a_corner_are_one_piece() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0:8, 0:8, 0] = pixels[8:16, 8:16, 0] = 255
    why = sightline.explain(speakers.segmenter(), Image.fromarray(pixels), "object:4,4", method="hires-cam")
    assert why.maps[0, 0, 0] == why.maps[0, 1, 1] == 5


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("object:2,2:red", TargetError, "the model sees no red at 2,2 but background; ask about the pixel"),
        ("object:40,2", TargetError, "the point 40,2 isn't in what the model sees of the picture"),
        ("object:here", TargetError, "'here' is no point; expected X,Y in the picture's pixels"),
        ("region:nowhere.png", PictureError, "mask 'nowhere.png' can't be read"),
        ("7", TargetError, "no class 7: the model has 4 classes"),
        ("purple", TargetError, "no class 'purple' among 4; nearest: "),
        ("box:1", TargetError, "'box:1' is asked of models that give boxes; Segmenter gives regions"),
        ("finer:red", TargetError, "'finer:red' is asked of models that give classes or answers; Segmenter gives reg"),
    ],
)
def test_what_cannot_be_asked_of_a_segmentation(
    picture: Image.Image, target: str, error: type[SightlineError], message: str
) -> None:
    with pytest.raises(error, match=message):
        sightline.explain(speakers.segmenter(), picture, target)


def test_a_mask_of_another_size_or_without_a_pixel_is_refused(picture: Image.Image, tmp_path: Path) -> None:
    Image.new("L", (16, 32)).save(tmp_path / "small.png")
    Image.new("L", (32, 32)).save(tmp_path / "empty.png")
    with pytest.raises(PictureError, match="has 16 x 32 pixels, the picture 32 x 32"):
        sightline.explain(speakers.segmenter(), picture, f"region:{tmp_path / 'small.png'}")
    with pytest.raises(TargetError, match=r"mask '.*empty.png' is empty: all of it is 0"):
        sightline.explain(speakers.segmenter(), picture, f"region:{tmp_path / 'empty.png'}:red")


def test_boxes_are_counted_as_they_are_shown(picture: Image.Image) -> None:
    model = speakers.detector()
    why = sightline.explain(model, picture, ["box:1", "box:2", "red", "not:green"], method="hires-cam")
    assert why.said == "1 red 0.99, 2 green 0.99" or why.said.startswith("1 red")
    assert [one.name for one in why.asked] == ["box 1: red", "box 2: green", "red", "against green"]
    assert peak(why[0]) == RED
    assert peak(why[1]) == GREEN
    assert_close(why.maps[2], why.maps[0])
    assert_close(why.maps[3], -why.maps[1])
    assert why.probabilities[0] == pytest.approx(1 / (1 + math.exp(-why.scores[0])))
    assert why.asked[0].box == (0, 0, 16, 32)
    assert why[1].facts()["target"] == {"name": "box 2: green", "index": 1, "box": [16, 0, 32, 32]}
    assert why[0].overlay().getpixel((8, 0)) == sightline.explanation.ASKED


def test_a_box_of_ones_own_is_asked_in_the_pictures_pixels(picture: Image.Image) -> None:
    why = sightline.explain(speakers.detector(), picture, ["box:16,0,32,32:green", "box:17, 1, 31, 30"])
    assert [one.name for one in why.asked] == ["green", "green"]
    assert peak(why[0]) == peak(why[1]) == GREEN
    assert [one.box for one in why.asked] == [(16, 0, 32, 32), (17, 1, 31, 30)]
    with pytest.raises(TargetError, match=r"has no area; expected X0,Y0,X1,Y1 with X1 > X0"):
        sightline.explain(speakers.detector(), picture, "box:16,0,16,32")
    with pytest.raises(TargetError, match=r"no box '3'; the model finds 1 red .* give one's number"):
        sightline.explain(speakers.detector(), picture, "box:3")
    with pytest.raises(TargetError, match=r"no box of 'blue'; the model finds 1 red"):
        sightline.explain(speakers.detector(), picture, "blue")


def test_a_picture_is_compared_with_a_sentence_and_with_another_picture(picture: Image.Image, tmp_path: Path) -> None:
    model = speakers.embedder()
    Image.new("RGB", (32, 32), (0, 200, 0)).save(tmp_path / "green.png")
    why = sightline.explain(model, picture, ["text:something red", "something red", f"like:{tmp_path / 'green.png'}"])
    assert [one.name for one in why.asked] == ['"something red"', '"something red"', "like green.png"]
    red, green = 1.0, 0.8
    assert why.scores == pytest.approx(
        (red / math.hypot(red, green),) * 2 + (green / math.hypot(red, green),), abs=1e-5
    )
    assert peak(why[0]) == RED
    assert peak(why[2]) == GREEN
    assert_close(sightline.explain(model, picture, text="something red").maps[0], why.maps[0])
    both = sightline.explain(model, picture, ["text:blue-vs:text:red"], text="something red")
    assert [one.name for one in both.asked] == ['"something red"', '"blue" and not "red"']
    with pytest.raises(ModelError, match="Segmenter neither writes nor reads text; leave the text out"):
        sightline.explain(speakers.segmenter(), picture, "red", text="something red")
    with pytest.raises(TargetError, match="embedder gives embeddings; say what to compare with: text:a sentence"):
        sightline.explain(model, picture)
    mute = sightline.wrap(speakers.Embedder(), preprocess=speakers.PLAIN, task="likeness")
    with pytest.raises(TargetError, match=r"Embedder reads no text; compare with a picture: like:OTHER.jpg"):
        sightline.explain(mute, picture, "text:red")


def test_what_raises_and_what_lowers_a_number(picture: Image.Image) -> None:
    blue = np.asarray(picture).copy()
    blue[8:16, 0:8, 2] = 255
    why = sightline.explain(speakers.meter(), Image.fromarray(blue), ["raises", "lowers"], method="hires-cam")
    assert [one.name for one in why.asked] == ["raises the value", "lowers the value"]
    assert peak(why[0]) == RED
    assert peak(why[1]) == (0, 1)
    assert_close(why.maps[1], -why.maps[0])
    assert_close(sightline.explain(speakers.meter(), Image.fromarray(blue), method="hires-cam").maps, why.maps[:1])
    assert why.predictions == ()


class Deviation(speakers.Meter):
    """A number to which each channel of the last feature map adds, so that the layer can be chosen."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        cells = self.cells(image)
        return cells[:, 0].mean((1, 2)) + 0 * cells.sum((1, 2, 3))


def test_the_layer_of_a_net_that_gives_one_number_a_picture_is_chosen(picture: Image.Image) -> None:
    why = sightline.explain(sightline.wrap(Deviation(), preprocess=speakers.PLAIN, task="values"), picture)
    assert (why.layer, why.layer_why) == ("mix", "the last feature map with space, 4 x 4")
    assert peak(why) == RED


def test_labels_together_beside_plain_classes(picture: Image.Image) -> None:
    model = sightline.wrap(
        speakers.Embedder(), preprocess=speakers.PLAIN, labels=speakers.COLOURS, multi_label=True, layer="mix"
    )
    why = sightline.explain(model, picture, ["all:red,green", "red", "finer:green"], method="hires-cam")
    assert [one.name for one in why.asked] == ["red + green", "red", "green, finer"]
    assert why.maps[0].nonzero().tolist() == [[0, 1], [2, 3]]
    assert sum(one.probability for one in why.predictions) > 1.5
    plain = sightline.explain(model, picture, ["red", "finer:green"], method="hires-cam")
    assert_close(plain.maps, why.maps[1:])
    assert plain.asked == why.asked[1:]


def test_each_picture_of_a_list_is_asked_its_own(picture: Image.Image) -> None:
    model, mirrored = speakers.captioner(), picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    both = sightline.explain(model, [picture, mirrored], ["word:1", "word:3"])
    assert [why.name for why in both] == ["red", "green"]
    assert peak(both[1]) == (0, 2)
    lists = sightline.explain(model, [picture, mirrored], [["word:1", "caption"], ["word:3", "word:2"]])
    assert [[one.name for one in why.asked] for why in lists] == [["red", '"red and green"'], ["green", "and"]]
    with pytest.raises(TargetError, match="1 targets were given for 2 pictures"):
        sightline.explain(model, [picture, mirrored], ["word:1"])


def test_a_callable_goes_with_words(picture: Image.Image) -> None:
    def strangest(output: torch.Tensor) -> torch.Tensor:
        return output[:, 0, 2]

    why = sightline.explain(speakers.captioner(), picture, [strangest, "word:1"])
    assert [one.name for one in why.asked] == ["strangest", "red"]
    assert peak(why[0]) == GREEN


@pytest.mark.parametrize("method", ["occlusion:window=4:stride=4", "rise:masks=200", "ablation-cam"])
def test_methods_that_ask_the_model_themselves_answer_too(picture: Image.Image, method: str) -> None:
    why = sightline.explain(speakers.captioner(), picture, ["word:1", "word:3"], method=method)
    for one, (across, down) in zip(why, (RED, GREEN)):
        x, y = one.peak()
        assert (x // 8, y // 8) == (across, down)


def test_a_posed_question_can_be_checked_saved_and_read_again(picture: Image.Image, tmp_path: Path) -> None:
    why = sightline.explain(speakers.captioner(), picture, "word:1")
    checks = {check.name: check.passed for check in why.check().checks}
    assert checks["class"] is None
    assert checks["hiding"] is True
    why.save(tmp_path)
    again = sightline.Explanation.load(tmp_path)
    assert (again.said, again.name, again.scores) == (why.said, why.name, pytest.approx(why.scores))
    kept = tmp_path / "explanation.json"
    kept.write_text(
        json.dumps({k: v for k, v in json.loads(kept.read_text()).items() if k not in ("question", "said")})
    )
    assert sightline.Explanation.load(tmp_path).said == ""  # as 0.3.0 saved it
    box = sightline.explain(speakers.detector(), picture, "box:2")
    box.save(tmp_path)
    assert sightline.Explanation.load(tmp_path).asked == box.asked


def test_every_kind_is_refused_by_name_where_it_is_not_defined(picture: Image.Image) -> None:
    models = [
        speakers.captioner(), speakers.segmenter(), speakers.detector(), speakers.embedder(), speakers.meter(),
        sightline.wrap(speakers.Embedder(), preprocess=speakers.PLAIN, labels=speakers.COLOURS),
    ]  # fmt: skip
    for model in models:
        for kind in KINDS:
            if any(row.name == kind.name and model.task in row.tasks for row in KINDS):
                continue
            with pytest.raises(
                TargetError, match=f"'{kind.name}:1' is asked of models that give .* gives {model.task}"
            ):
                sightline.explain(model, picture, f"{kind.name}:1")


def test_a_target_is_found_again_by_what_was_typed(picture: Image.Image) -> None:
    why = sightline.explain(speakers.detector(), picture, ["box:1", "not:box:2", "green"])
    assert why["box:1"].name == "box 1: red"
    assert why["not:box:2"].name == "against box 2: green"
    words = sightline.explain(speakers.captioner(), picture)
    assert words["word:3"].name == "green"
    assert words["caption"].name == '"red and green"'


def test_answers_that_are_numbers_are_asked_by_name(picture: Image.Image) -> None:
    model = replace(speakers.answerer(), labels=sightline.Labels(("2", "0", "1")))
    why = sightline.explain(model, picture, ["answer:1", "0"], question="most?")
    assert [(one.name, one.index) for one in why.asked] == [("1", 2), ("0", 1)]


def test_an_explanation_can_be_pickled_without_its_model(picture: Image.Image) -> None:
    why = pickle.loads(pickle.dumps(sightline.explain(speakers.captioner(), picture)))
    assert why.said == "red and green"
    with pytest.raises(ModelError, match="has no model to check it in"):
        why[1].check()


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        ("detector", "box:40,0,60,20:red", r"box \[40.0, 0.0, 60.0, 20.0\] lies outside what the model sees"),
        ("detector", "box:1.2.3,0,9,9", "no box '1.2.3,0,9,9'.*give one's number, or box:X0,Y0,X1,Y1:NAME"),
        ("detector", "top:0", "nothing is asked of Detector: the list of targets is empty, or ends at 0"),
        ("segmenter", "pixel:32,4", "the point 32,4 isn't in what the model sees"),
        ("segmenter", "pixel:1..2,4", "'1..2,4' is no point"),
        ("captioner", "", "an empty target was given"),
    ],
)
def test_places_and_targets_that_are_none(picture: Image.Image, model: str, target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        sightline.explain(getattr(speakers, model)(), picture, target)


def test_a_detector_that_finds_nothing_says_so() -> None:
    black = Image.new("RGB", (32, 32))
    with pytest.raises(TargetError, match="the model finds no box in the picture; ask about one of your own"):
        sightline.explain(speakers.detector(), black)
    with pytest.raises(TargetError, match="nothing is asked of Detector: it finds no box in the picture"):
        sightline.explain(speakers.detector(), black, "top:3")


def test_a_piece_and_a_pixel_say_where_they_are(picture: Image.Image) -> None:
    why = sightline.explain(speakers.segmenter(), picture, ["object:26,20", "pixel:26,20:red", "green"])
    assert [one.box for one in why.asked] == [(24, 16, 32, 24), (24, 16, 32, 24), None]


def test_a_map_that_marks_nothing_is_said_to() -> None:
    why = sightline.explain(speakers.detector(), Image.new("RGB", (32, 32)), "box:0,0,16,32:red")
    assert not why.maps.any()
    assert why._unlit == "; nothing lit"
