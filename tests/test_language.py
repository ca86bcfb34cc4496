"""The embedded nets of language: what they write and answer, how it is computed, and where its maps lie."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sightline
from sightline.bundled.answerer import MOST as ASKED
from sightline.bundled.answerer import Answerer
from sightline.bundled.captioner import END, MOST, Captioner
from sightline.bundled.eye import Eye
from sightline.datasets.phrases import caption, questions
from sightline.datasets.relations import arrangement
from sightline.errors import ModelError, TargetError
from sightline.layers import find
from sightline.model import Model, Task
from sightline.sources import bundled
from sightline.targets import written

sys.path.append(str(Path(__file__).parents[1] / "recipes"))
from language_figures import of_captions, of_questions

SCENES = [arrangement(place, objects=(2, 3)) for place in range(8)]


@pytest.fixture(scope="module")
def captions() -> Model:
    return sightline.load("captions", device="cpu")


@pytest.fixture(scope="module")
def answers() -> Model:
    return sightline.load("questions", device="cpu")


def image_of(model: Model, nth: int) -> Tensor:
    return model.preprocess(SCENES[nth].painting.picture())[None]


def cell(lstm: nn.LSTMCell, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Hochreiter and Schmidhuber's cell, gate by gate."""
    gates = x @ lstm.weight_ih.T + lstm.bias_ih + state[0] @ lstm.weight_hh.T + lstm.bias_hh
    enter, forget, new, leave = gates.chunk(4, 1)
    memory = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def vector(eye: Eye, image: Tensor) -> Tensor:
    """Scores of what there is, of each channel's largest value; then of how it lies, of those in each ninth."""
    found = eye.features(image)
    assert found.shape[1:] == (128, 12, 12)
    parts = [found[:, :, y : y + 4, x : x + 4].amax((2, 3)) for y in (0, 4, 8) for x in (0, 4, 8)]
    what, where = eye.what(found.amax((2, 3))), eye.where(torch.stack(parts, 2).flatten(1))
    return torch.cat([what.clamp(min=0), where], 1) / 10


def test_the_captioner_is_the_lstm_of_show_and_tell(captions: Model) -> None:
    """The picture is read first, then the start, then each word; written out as a loop over gates."""
    net: Captioner = captions.module  # type: ignore[assignment]
    image, zero = torch.cat([image_of(captions, 0), image_of(captions, 1)]), torch.zeros(2, 128)
    assert captions.writer is not None
    tokens = captions.writer.read(str(caption(SCENES[0])))
    with torch.inference_mode():
        state = cell(net.cell, net.seen(vector(net.eye, image)), (zero, zero))
        rows = []
        for token in [END, *tokens[:-1]]:
            state = cell(net.cell, net.word.weight[token].expand(2, -1), state)
            rows.append(state[0] @ net.head.weight.T + net.head.bias)
        found = captions.writer.reading(tokens)(image)
    assert found.shape == (2, len(tokens), 20)
    torch.testing.assert_close(found, torch.stack(rows, 1), atol=1e-4, rtol=1e-4)


def test_the_answerer_multiplies_what_is_seen_by_what_is_asked(answers: Model) -> None:
    net: Answerer = answers.module  # type: ignore[assignment]
    image = torch.cat([image_of(answers, 0), image_of(answers, 1)])
    assert answers.answers is not None
    words = bundled.card("questions")["vocabulary"]
    tokens = [words.index(word) for word in ["what", "colour", "is", "the", "circle"]] + [0] * (ASKED - 5)
    with torch.inference_mode():
        state = torch.zeros(1, 128), torch.zeros(1, 128)
        for token in tokens:
            state = cell(net.cell, net.word.weight[token][None], state)
        joined = net.seen(vector(net.eye, image)).tanh() * net.asked(state[0]).tanh()
        expected = net.head(net.mix(joined).tanh())
        found = answers.answers("What colour is the circle?")(image)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_written_is_the_likeliest_word_after_each_and_is_read_alike(captions: Model) -> None:
    """Written word after word and read as a whole, the logits are the same."""
    writer = captions.writer
    assert writer is not None
    for nth in range(4):
        image = image_of(captions, nth)
        tokens = writer.write(image)
        assert tokens[-1] == END
        with torch.inference_mode():
            read, alone = writer.reading(tokens)(image), captions.module(image)
        assert read[0].argmax(1).tolist() == tokens
        torch.testing.assert_close(read, alone[:, : len(tokens)])
        assert alone.shape[1] == MOST
        words = writer.words(tokens)
        assert [word.tokens for word in words] == [slice(i, i + 1) for i in range(len(tokens) - 1)]
        assert writer.read(" ".join(word.text for word in words)) == tokens
        assert writer.read(" ".join(word.text for word in words).upper() + ".") == tokens


def test_a_sentence_is_as_likely_as_its_words(captions: Model) -> None:
    writer, image = captions.writer, image_of(captions, 2)
    assert writer is not None
    tokens = writer.write(image)
    with torch.inference_mode():
        logits = writer.reading(tokens)(image)
    whole = written(tokens)(logits)
    words = [written(tokens, slice(i, i + 1))(logits) for i in range(len(tokens))]
    torch.testing.assert_close(whole, torch.stack(words).sum(0))
    other = captions.module(image_of(captions, 3))
    assert other.shape == (1, MOST, 20)


def test_what_cant_be_said_or_asked_is_refused(captions: Model, answers: Model) -> None:
    writer, ask = captions.writer, answers.answers
    assert writer is not None
    assert ask is not None
    with pytest.raises(TargetError, match="the word 'circel' isn't known; nearest: 'circle'"):
        writer.read("a red circel")
    with pytest.raises(TargetError, match=r"no words in ' \?'"):
        writer.read(" ?")
    with pytest.raises(TargetError, match="no token 20; the captioner knows 0 to 19"):
        writer.words([20])
    with pytest.raises(TargetError, match="the word 'end' isn't known"):
        writer.read("<end>")
    with pytest.raises(ModelError, match="takes no question, got 'what is it'"):
        writer.write(image_of(captions, 0), "what is it")
    with pytest.raises(ModelError, match="takes no question"):
        writer.reading([1], "what is it")
    with pytest.raises(ModelError, match="2 images are written about one at a time"):
        writer.write(torch.zeros(2, 3, 96, 96))
    with pytest.raises(TargetError, match="the word 'dog' isn't known"):
        ask("what colour is the dog?")
    with pytest.raises(TargetError, match="has 9 words; expected 8 or fewer"):
        ask("what is left of the blue square the star")


def test_they_are_models_of_their_tasks(captions: Model, answers: Model) -> None:
    assert (captions.task, answers.task) == (Task.WORDS, Task.ANSWERS)
    assert captions.answers is None
    assert answers.writer is None
    assert not captions.labels.names
    assert {"red", "circle", "striped", "yes", "2"} <= {*answers.labels.names}
    random = sightline.load("captions", weights="random", device="cpu")
    assert "random weights" in random.note
    assert random.weights_hash != captions.weights_hash
    assert random.writer is not None
    assert 0 < len(random.writer.write(image_of(random, 0))) <= MOST


def test_the_layer_that_is_chosen_is_the_last_map_of_the_eye(captions: Model, answers: Model) -> None:
    """Nothing of the LSTM is taken for a grid."""
    assert captions.writer is not None
    assert answers.answers is not None
    image = image_of(captions, 0)
    tokens = captions.writer.write(image)
    for module, target in (
        (captions.writer.reading(tokens), written(tokens)),
        (answers.answers("how many things are there?"), 0),
    ):
        chosen = sightline.maps(module, image, target)
        assert chosen.shape == (1, 12, 12)
        named = sightline.maps(module, image, target, layer="eye.features")
        torch.testing.assert_close(chosen, named)
        assert isinstance(find(module, "cell").module, nn.LSTMCell)


def test_maps_are_the_mean_gradients_times_the_eyes_channels(answers: Model) -> None:
    """Grad-CAM by hand, through product and LSTM."""
    net: Answerer = answers.module  # type: ignore[assignment]
    assert answers.answers is not None
    image, asked = image_of(answers, 0), questions(SCENES[0])[0]
    module = answers.answers(asked.text)
    kept = []
    hook = net.eye.features.register_forward_hook(lambda _, __, output: kept.append(output))
    logits = module(image)
    hook.remove()
    best = int(logits[0].argmax())
    (slope,) = torch.autograd.grad(logits[0, best], kept[0])
    expected = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu().detach()
    torch.testing.assert_close(sightline.maps(module, image, best), expected, atol=1e-6, rtol=1e-4)


def told(figures: dict, *keys: str) -> dict:
    (inner,) = (value for name, value in figures.items() if name.startswith("scenes:"))
    for key in keys:
        inner = next(value for name, value in inner.items() if name.startswith(key))
    return inner


@pytest.mark.parametrize("name", ["captions", "questions"])
def test_figures_of_the_cards_hold_on_fewer_scenes(name: str, captions: Model, answers: Model) -> None:
    found = of_captions(captions, 60) if name == "captions" else of_questions(answers, 60)
    known = bundled.card(name)["figures"]
    for kind, share in told(known, "right in per cent").items():
        assert told(found, "right in per cent")[kind] >= share - 12, kind
    row = "colour, texture and shape" if name == "captions" else "all"
    own, card = (told(each, "Grad-CAM")[row] for each in (found, known))
    assert own["grad-cam"] >= card["grad-cam"] - 8
    assert own["grad-cam"] > 3 * max(own["centre"], own["any place"])
