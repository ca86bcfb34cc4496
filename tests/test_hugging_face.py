"""Hugging Face's models, from folders with random weights and no network: each task, against the library's answers."""

import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hugging_folders import FOLDERS, SMALL, VISION, folder_of
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

import sightline
from sightline import targets
from sightline.ask import chosen_layer
from sightline.errors import MethodError, ModelError, NoSpace, TargetError
from sightline.model import Model, Task
from sightline.sources.hugging_face.place import Place
from sightline.sources.hugging_face.processing import preprocessing

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(autouse=True)
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is looked up in the network, which fails; a test that doesn't clear the list must look up nothing."""
    asked: list[Any] = []

    def refused(*where: Any) -> None:
        asked.append(where)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    yield asked
    assert not asked


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hugging")


@pytest.fixture(scope="module")
def load(root: Path) -> Callable[[str], Model]:
    return cache(lambda name: sightline.load(str(folder_of(name, root)), device="cpu"))


def images(model: Model, n: int = 2) -> Tensor:
    return torch.randn(n, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(3))


def inner(model: Model) -> Any:
    net: Any = model.module.module
    return net


def picture(width: int = 64, height: int = 48) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def by_hand(module: nn.Module, net: nn.Module, image: Tensor, layer: str, score: Callable[[Any], Tensor]) -> Tensor:
    """relu(sum_c w_c A_c) of tokens or channels as they come, w_c the mean gradient, by a hook and autograd.

    Tokens (N, T, C) give (N, T); a map (N, C, h, w) gives (N, h, w).
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> Any:
        first = output if isinstance(output, Tensor) else next(v for v in dict(output).values() if v is not None)
        first.retain_grad() if first.requires_grad else first.requires_grad_()
        kept.append(first)

    handle = net.get_submodule(layer).register_forward_hook(keep)
    try:
        scores = score(module(image.clone().requires_grad_()))
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(scores.sum(), kept[-1])
    return torch.stack((kept[-1].detach(), gradient))


def cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Of (N, C, h, w) each."""
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).relu()


def grid(values: Tensor, prefix: int, rows: int) -> Tensor:
    """Tokens (N, T, C) after so many others as (N, C, rows, columns); maps as they are."""
    return values if values.ndim == 4 else values[:, prefix:].transpose(1, 2).unflatten(2, (rows, -1))


def asked(model: Model, image: Tensor) -> tuple[nn.Module, list[targets.Target]]:
    """The module as it takes images alone, and two questions of it."""
    match model.task:
        case Task.CLASSES:
            return model.module, [targets.class_(0), targets.class_(3)]
        case Task.ANSWERS:
            assert model.answers
            return model.answers("what is on the red circle ?"), [targets.class_(0), targets.class_(3)]
        case Task.REGIONS:
            mask = torch.zeros(image.shape[2:])
            mask[:20, :20] = 1
            return model.module, [targets.region(mask, 0), targets.region(1 - mask, 1)]
        case Task.BOXES:
            boxes = model.module(image).boxes.detach()[0]
            return model.module, [targets.box(boxes[0], 0), targets.box(boxes[1], 3)]
        case Task.LIKENESS:
            assert model.texts
            return model.module, [targets.like(model.texts("a red dog")), targets.like(model.texts("cat"))]
        case _:
            assert model.writer
            tokens, prompt = [8, 9, 10], "what is on the dog ?" if "vqa" in model.name else None
            return model.writer.reading(tokens, prompt), [targets.written(tokens, slice(i, i + 1)) for i in (0, 2)]


# Model: the layer, the tokens before its grid, the grid's rows
LAYERS: dict[str, tuple[str, int, int]] = {
    "vit": ("vit.layers.1.layernorm_before", 1, 4),
    "swin": ("swin.layernorm", 0, 8),
    "convnext": ("convnext.encoder", 0, 2),
    "segformer": ("decode_head.activation", 0, 16),
    "detr": ("model.backbone.model.encoder.stages.3", 0, 3),
    "yolos": ("vit.embeddings.patch_embeddings.projection", 0, 3),
    "clip": ("vision_model.encoder.layers.1.layer_norm1", 1, 4),
    "siglip": ("vision_model.post_layernorm", 0, 4),
    "blip": ("vision_model", 1, 4),
    "blip-vqa": ("vision_model", 1, 4),
    "vilt": ("patches", 0, 4),
    "vit-gpt2": ("encoder", 1, 4),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_grad_cam_is_what_a_hook_and_autograd_give_by_hand(name: str, load: Callable[[str], Model]) -> None:
    model = load(name)
    image = images(model)
    module, both = asked(model, image)
    layer, prefix, rows = LAYERS[name]
    if name not in ("detr", "blip", "blip-vqa", "vit-gpt2"):  # where text or queries may be taken for positions
        assert chosen_layer(module, image).layer.name == layer
    assert model.layer in (None, layer)
    maps = [sightline.maps(module, image, target, layer=model.layer) for target in both]
    for found, target in zip(maps, both):
        kept, gradient = by_hand(module, inner(model), image, layer, target)
        expected = cam(grid(kept, prefix, rows), grid(gradient, prefix, rows))
        assert found.shape == expected.shape
        assert found.isfinite().all()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
    assert any(found.abs().max() > 0 for found in maps)
    assert (maps[0] - maps[1]).abs().max() > 1e-3 * max(found.max() for found in maps)


def outputs(name: str, model: Model, image: Tensor, **given: Any) -> Any:
    with torch.no_grad():
        return inner(model)(pixel_values=image, **given)


@pytest.mark.parametrize("name", ["vit", "swin", "convnext", "segformer"])
def test_logits_are_the_librarys_own(name: str, load: Callable[[str], Model]) -> None:
    model = load(name)
    image = images(model)
    torch.testing.assert_close(model.module(image), outputs(name, model, image).logits)
    assert model.task is (Task.REGIONS if name == "segformer" else Task.CLASSES)
    assert model.labels.names == ("cat", "dog", "red circle", "blue circle", "nothing")


@pytest.mark.parametrize("name", ["detr", "yolos"])
def test_boxes_are_those_of_the_processor_in_the_images_pixels(
    name: str, root: Path, load: Callable[[str], Model]
) -> None:
    model = load(name)
    image = images(model)
    found = model.module(image)
    sizes = [image.shape[2:]] * len(image)
    processor = transformers.AutoImageProcessor.from_pretrained(root / name, local_files_only=True)
    known = processor.post_process_object_detection(outputs(name, model, image), threshold=0.0, target_sizes=sizes)
    assert found.logits.shape == found.shares.shape == (2, 6, 5)  # no object is no class
    for n, each in enumerate(known):
        shares, classes = found.shares[n].max(-1)
        torch.testing.assert_close(shares, each["scores"])
        torch.testing.assert_close(found.boxes[n], each["boxes"])
        assert torch.equal(classes, each["labels"])


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_embeddings_of_images_and_sentences_share_a_space(name: str, root: Path, load: Callable[[str], Model]) -> None:
    model = load(name)
    image = images(model)
    sentences = ["a red dog", "cat"]
    words = transformers.AutoTokenizer.from_pretrained(root / name, local_files_only=True)
    ids = words(sentences, padding="max_length", max_length=16, return_tensors="pt")
    ids = {"input_ids": ids.input_ids} if name == "siglip" else dict(ids)
    known = outputs(name, model, image, **ids)
    assert model.texts
    texts = torch.stack([model.texts(sentence) for sentence in sentences])
    assert not texts.requires_grad
    torch.testing.assert_close(torch.nn.functional.normalize(texts, dim=1), known.text_embeds)
    for column, text in enumerate(texts):
        scale = inner(model).logit_scale.exp()
        bias = inner(model).logit_bias if name == "siglip" else 0
        likeness = targets.like(text)(model.module(image))
        torch.testing.assert_close(likeness * scale + bias, known.logits_per_image[:, column])
    with pytest.raises(TargetError, match=r"\d+ tokens and the model reads 16; shorten it"):
        model.texts("a red dog " * 9)


def test_an_answer_to_a_question_is_vilts_own_though_it_shuffles_its_tokens(
    root: Path, load: Callable[[str], Model]
) -> None:
    model = load("vilt")
    image, question = images(model), "what is on the red dog ?"
    words = transformers.AutoTokenizer.from_pretrained(root / "vilt", local_files_only=True)
    ids = {key: value.repeat(2, 1) for key, value in words(question, return_tensors="pt").items()}
    every = torch.ones(2, *image.shape[2:], dtype=torch.long)
    assert model.answers
    module = model.answers(question)
    known = outputs("vilt", model, image, pixel_mask=every, **ids).logits
    torch.testing.assert_close(module(image), known, rtol=1e-4, atol=1e-5)
    assert torch.equal(module(image), module(image))  # its own differs by rounding from call to call
    assert (module(image) - model.answers("where is the cat ?")(image)).abs().max() > 1e-3
    assert "patches" not in " ".join(inner(model).state_dict())
    with pytest.raises(TargetError, match=r"tokens and the model reads 20; shorten it"):
        model.answers("what is on the red dog ? " * 4)


@pytest.mark.parametrize("name", ["blip", "blip-vqa", "vit-gpt2"])
@pytest.mark.parametrize("prompted", [False, True])
def test_what_is_written_is_the_likeliest_as_it_is_read_again(
    name: str, prompted: bool, load: Callable[[str], Model]
) -> None:
    model = load(name)
    prompt = "what is on the dog ?" if name == "blip-vqa" else "a red" if prompted else None
    image = images(model, 3)
    assert model.writer
    written = [model.writer.write(one[None], prompt) for one in image]
    for one, tokens in zip(image, written):
        logits = model.writer.reading(tokens, prompt)(one[None])
        assert logits.shape[:2] == (1, len(tokens))
        assert logits.argmax(2)[0].tolist() == tokens
    batch = model.writer.reading(written[0], prompt)(image)
    torch.testing.assert_close(batch[1:2], model.writer.reading(written[0], prompt)(image[1:2]), rtol=1e-4, atol=1e-4)
    if prompted:
        others = model.writer.reading(written[0], "cat the what" if name != "vit-gpt2" else "dog")(image)
        assert (batch - others).abs().max() > 1e-3


def test_a_sentence_is_read_as_blip_itself_and_an_encoder_with_a_decoder_do(
    root: Path, load: Callable[[str], Model]
) -> None:
    for name, start, key in (("blip", 5, "input_ids"), ("vit-gpt2", 34, "decoder_input_ids")):
        model = load(name)
        image, tokens = images(model), [8, 9, 3, 1]
        given = {key: torch.tensor([[start, *tokens[:-1]]] * 2)}
        assert model.writer
        found = model.writer.reading(tokens)(image)
        torch.testing.assert_close(found, outputs(name, model, image, **given).logits)
    model = load("blip-vqa")
    words = transformers.AutoTokenizer.from_pretrained(root / "blip-vqa", local_files_only=True)
    question, image = words("what is the cat ?", return_tensors="pt").input_ids, images(model, 1)
    with torch.no_grad():
        known = inner(model).generate(
            pixel_values=image, input_ids=question, max_new_tokens=4, min_new_tokens=4, output_scores=True,
            return_dict_in_generate=True, do_sample=False,
        )  # fmt: skip
    assert model.writer
    found = model.writer.reading(known.sequences[0, 1:].tolist(), "what is the cat ?")(image)[0].detach()
    scores = torch.cat(known.scores)
    torch.testing.assert_close(found[:, 6:], scores[:, 6:], rtol=1e-4, atol=1e-4)  # without the mark of the end


def test_words_are_made_of_tokens_and_sentences_of_words(load: Callable[[str], Model]) -> None:
    blip, gpt2 = load("blip").writer, load("vit-gpt2").writer
    assert blip
    assert gpt2
    tokens = blip.read("a red dogs on the circle . cat")
    assert [(each.text, each.tokens) for each in blip.words(tokens)] == [
        ("a", slice(0, 1)), ("red", slice(1, 2)), ("dogs", slice(2, 4)), ("on", slice(4, 5)), ("the", slice(5, 6)),
        ("circle", slice(6, 7)), ("cat", slice(8, 9)),
    ]  # fmt: skip
    assert tokens[-1] == 3  # the mark of the end
    assert blip.words([3]) == []
    with pytest.raises(TargetError, match="'a red zebra' can't be written"):
        blip.read("a red zebra")
    assert [(each.text, each.tokens) for each in gpt2.words(gpt2.read("cat dogs red"))] == [
        ("cat", slice(0, 3)), ("dogs", slice(3, 5)), ("red", slice(5, 6)),
    ]  # fmt: skip
    answerer, image = load("blip-vqa").writer, images(load("blip-vqa"), 1)
    assert answerer
    with pytest.raises(TargetError, match="answers questions; ask one with --question"):
        answerer.write(image)


SQUARE = {"height": 224, "width": 224}
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {}),
    "clip": ("CLIPImageProcessor", {}),
    "blip": ("BlipImageProcessor", {}),
    "siglip": ("SiglipImageProcessor", {}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    "large convnext": ("ConvNextImageProcessor", {}),
    "deit": ("DeiTImageProcessor", {}),
    "segformer": ("SegformerImageProcessor", {}),
    "without mean": ("BitImageProcessor", {"do_normalize": False, "size": SQUARE, "do_center_crop": False}),
    "another scale": (
        "ViTImageProcessor",
        {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
    ),
    "vilt": ("ViltImageProcessor", {}),
    "detr": ("DetrImageProcessor", {}),
}


def processing(kind: str, options: dict[str, Any], folder: Path) -> tuple[sightline.Preprocess, str]:
    getattr(transformers, kind)(**options).save_pretrained(folder)
    return preprocessing(Place(str(folder)), transformers.ViTConfig())


def processed(kind: str, options: dict[str, Any], shown: Image.Image) -> Tensor:
    given = getattr(transformers, kind)(**options)(shown, return_tensors="pt")["pixel_values"][0]
    return torch.as_tensor(np.asarray(given))


@pytest.mark.parametrize("name", PROCESSORS)
def test_an_image_is_the_processors_own(name: str, tmp_path: Path) -> None:
    """To the bit where it works with Pillow; with torchvision, whose resampling rounds otherwise, to a level or few."""
    kind, options = PROCESSORS[name]
    found, note = processing(kind, options, tmp_path)
    china = Image.fromarray(load_sample_image("china.jpg"))
    if name in ("vilt", "detr"):
        assert "any shape" in note
        china = china.resize((640, 480))
    else:
        assert not note
    own = found(china)
    torch.testing.assert_close(own, processed(f"{kind}Pil", options, china), rtol=0, atol=1e-6)
    off = (own - processed(kind, options, china)).abs() * torch.tensor(found.std)[:, None, None] * 255
    assert off.max() <= 2.01
    assert off.mean() < 0.1


@pytest.mark.parametrize("name", ["vit", "clip", "convnext", "deit", "detr"])
def test_a_point_of_the_picture_is_where_the_processor_puts_it(name: str, tmp_path: Path) -> None:
    kind, options = PROCESSORS[name]
    found, _ = processing(kind, options, tmp_path)
    width, height = (640, 480) if name == "detr" else (641, 428)  # cropped to squares by an odd number of pixels
    dark = np.zeros((height, width, 3), np.uint8)
    dark[180:220, 380:420] = 255
    values = processed(f"{kind}Pil", options, Image.fromarray(dark))[0]
    light = values - values.min()
    rows, columns = (torch.arange(n) + 0.5 for n in light.shape)
    seen = float((light.sum(0) @ columns) / light.sum()), float((light.sum(1) @ rows) / light.sum())
    assert found.framing((width, height)).point_in_image(400, 200) == pytest.approx(seen, abs=0.05)


def test_what_a_processor_does_beyond_that_is_said(tmp_path: Path) -> None:
    levit = processing("LevitImageProcessor", {}, tmp_path / "levit")
    assert re.search(r"LevitImageProcessor differs by \d+ of 255 levels from what is done here", levit[1])
    mobile = processing("MobileViTImageProcessor", {"crop_size": SQUARE}, tmp_path / "mobile")  # turns RGB to BGR
    assert re.search(r"MobileViTImageProcessor differs by \d+ of 255 levels", mobile[1])
    yolos, note = processing("YolosImageProcessor", {}, tmp_path / "yolos")
    assert (yolos.size, yolos.fit) == ((800, 1056), "pad")
    assert "pictures of any shape; here each is fitted into 800 x 1056 and padded" in note
    assert "differs" not in note
    (tmp_path / "none").mkdir()
    bare, note = preprocessing(Place(str(tmp_path / "none")), transformers.ViTConfig(image_size=96))
    assert bare == sightline.Preprocess(size=(96, 96), resize=110)
    assert note == "assumed ImageNet's preprocessing (96 x 96 px): none holds no preprocessor_config.json"


@pytest.mark.parametrize(
    "method", ["grad-cam", "layer-cam", "saliency", "attention-rollout", "legrad", "occlusion:window=8"]
)
def test_methods_of_every_kind_ask_a_vit(method: str, load: Callable[[str], Model]) -> None:
    why = sightline.explain(load("vit"), picture(), ["cat", "blue circle"], method=method)
    assert why.maps.isfinite().all()
    assert why.maps.abs().amax((1, 2)).min() > 0
    if method != "attention-rollout":
        assert (why.maps[0] - why.maps[1]).abs().max() > 0.01 * why.maps.abs().max()


def test_attention_rollout_of_a_vit_is_the_product_of_its_own_attentions(
    root: Path, load: Callable[[str], Model]
) -> None:
    model = load("vit")
    image = images(model)
    eager = transformers.ViTForImageClassification.from_pretrained(root / "vit", attn_implementation="eager")
    with torch.no_grad():
        attentions = eager(pixel_values=image, output_attentions=True).attentions
    rolled = torch.eye(17)
    for each in attentions:
        mixed = each.mean(1) + torch.eye(17)
        rolled = mixed / mixed.sum(-1, keepdim=True) @ rolled
    expected = rolled[:, 0, 1:].unflatten(1, (4, 4))
    torch.testing.assert_close(sightline.maps(model.module, image, 0, method="attention-rollout"), expected)


@pytest.mark.parametrize(("name", "others"), [("vilt", "text"), ("yolos", "detection")])
def test_where_other_tokens_go_along_a_grid_is_refused(name: str, others: str, load: Callable[[str], Model]) -> None:
    model = load(name)
    image = images(model)
    module, (target, _) = asked(model, image)
    with pytest.raises(MethodError, match=f"mixes {others} tokens with the image's; use grad-cam"):
        sightline.maps(module, image, target, method="attention-rollout")
    block = "vilt.encoder.layer.0.output" if name == "vilt" else "vit.encoder.layer.0"
    for method in ("grad-cam", "ablation-cam"):
        with pytest.raises(NoSpace, match=f"gives {others} tokens along with the image's"):
            sightline.maps(module, image, target, layer=block, method=method)


def test_each_block_of_vilt_can_be_asked_at_its_patches(load: Callable[[str], Model]) -> None:
    model = load("vilt")
    image = images(model)
    module, (target, _) = asked(model, image)
    first, last = (sightline.maps(module, image, target, layer=("patches", call)) for call in (0, 1))
    torch.testing.assert_close(last, sightline.maps(module, image, target, layer="patches"))
    assert (first - last).abs().max() > 1e-4


ASKED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("swin", {"target": "dog"}, "dog"),
    ("segformer", {"target": "red circle"}, "red circle"),
    ("clip", {"target": "text:a red dog"}, '"a red dog"'),
    ("vilt", {"target": "answer:dog", "question": "what is on the cat ?"}, "dog"),
    ("blip", {"target": "word:red", "text": "a red circle"}, "red"),
    ("blip-vqa", {"target": "answer", "question": "what is on the cat ?"}, ""),
    ("vit-gpt2", {"target": "word:2", "text": "a red dog"}, "red"),
)


@pytest.mark.parametrize(("name", "given", "said"), ASKED)
def test_a_picture_is_asked_about_in_words(name: str, given: dict[str, Any], said: str, root: Path) -> None:
    model = sightline.load(f"hf/{folder_of(name, root)}", device="cpu")
    why = sightline.explain(model, picture(), **given, method="layer-cam")
    assert (why.source, why.model) == ("hf", name)
    assert said in why.asked[0].name
    assert why.maps.isfinite().all()
    assert why.maps.abs().max() > 0


def test_random_weights_and_weights_of_ones_own(root: Path, load: Callable[[str], Model], tmp_path: Path) -> None:
    model, folder = load("vit"), folder_of("vit", root)
    image = images(model)
    drawn = sightline.load(str(folder), weights="random", device="cpu")
    assert "random weights" in drawn.note
    assert (drawn.module(image) - model.module(image)).abs().max() > 1e-3
    save_file(inner(model).state_dict(), tmp_path / "own.safetensors")  # by its modules' names, which files have not
    own = sightline.load(str(folder), weights=tmp_path / "own.safetensors", device="cpu")
    torch.testing.assert_close(own.module(image), model.module(image))
    with pytest.raises(ModelError, match="no weights 'v2' for"):
        sightline.load(str(folder), weights="v2")
    copy = tmp_path / "headless"
    inner(model).vit.save_pretrained(copy)
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config))
    assert "2 of its weights are missing and random (classifier.bias, ...)" in sightline.load(str(copy)).note


def test_labels_and_independent_ones_come_from_the_config(root: Path, tmp_path: Path) -> None:
    config = json.loads((folder_of("vit", root) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    model = sightline.load(str(tmp_path), weights="random", device="cpu")
    assert model.multi_label
    assert model.labels.index("blue circle") == 3
    plain = transformers.ViTConfig(num_labels=3, architectures=["ViTForImageClassification"])
    plain.save_pretrained(tmp_path / "plain")
    config = {**plain.to_dict(), "num_hidden_layers": 1, "hidden_size": 12, "num_attention_heads": 1}
    (tmp_path / "plain/config.json").write_text(json.dumps(config))
    assert not sightline.load(str(tmp_path / "plain"), weights="random", device="cpu").labels


def test_what_is_not_supported_is_refused_in_a_line(root: Path, tmp_path: Path) -> None:
    supported = "supported are ForImageClassification, .*ViltForQuestionAnswering"
    for architectures, said in ((["BertForMaskedLM"], "is a BertForMaskedLM"), ([], "names no architecture")):
        config = {"model_type": "bert", "architectures": architectures}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=f"{said}; {supported}"):
            sightline.load(str(tmp_path))
    text, vision = {**SMALL, "vocab_size": 56}, {**VISION, "projection_dim": 8}
    owl = transformers.OwlViTConfig(text_config=text, vision_config=vision, architectures=["OwlViTForObjectDetection"])
    owl.save_pretrained(tmp_path / "owl")
    with pytest.raises(ModelError, match=r"OwlViTForObjectDetection needs input_ids beside its image; wrap it"):
        sightline.load(str(tmp_path / "owl"), weights="random")
    folder = tmp_path / "mute"
    shutil.copytree(folder_of("clip", root), folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "words.json", "merges.txt"):
        (folder / file).unlink()
    with pytest.raises(ModelError, match="mute holds no tokenizer; save it there with tokenizer.save_pretrained"):
        sightline.load(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="can't be read by transformers .*must hold all that save_pretrained writes"):
        sightline.load(str(folder))


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, lookups: list[Any]) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
    with pytest.raises(ModelError, match=r"nobody/nothing can't be read .*fetch it once where there is a network"):
        sightline.load("hf/nobody/nothing")
    lookups.clear()
