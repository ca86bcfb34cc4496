"""What methods may ask of a model, each answer against the model itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Containers, Deep, Overwriting, Pooled, Residual, Reused, Vit, image, roughened, seeded
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import densenet121, resnet18, squeezenet1_1

import sightline
from sightline import engine
from sightline.asking import Asking, Session
from sightline.errors import CutOff, LayerNotReached, MethodError
from sightline.layers import LayerLike, find
from sightline.targets import Labels, class_, contrast, counterfactual, question
from sightline.types import Kind, Method, Questions


def asking(model: nn.Module, images: Tensor, target: Any = 1, layer: LayerLike | None = None, **named: Any) -> Asking:
    session = Session(model, images, question(target, Labels(()), len(images)), **named)
    return Asking(session, None if layer is None else find(model, layer))


def edited_forward(
    model: nn.Module, images: Tensor, layer: nn.Module, call: int, edit: Callable[[Tensor], Tensor]
) -> Any:
    """The model's output with one call of a layer edited, by a plain hook: shares no code with the engine."""
    calls = 0

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return edit(output) if calls == call + 1 else None

    handle = layer.register_forward_hook(hook)
    try:
        with torch.no_grad():
            return model(images.clone())
    finally:
        handle.remove()


# The head alone.


class Branching(nn.Module):
    """Code that takes another way for other numbers before its layer, and for other batch sizes after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        count = images.shape[0]
        values = self.stem(images)
        values = self.conv(values.relu() if values.mean() > 0 else values.tanh())
        return self.head(values.reshape(count, 5, -1).mean(2))


class Spoiling(nn.Module):
    """A shortcut from before the layer, overwritten after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        shortcut = self.stem(images)
        values = self.conv(shortcut)
        shortcut.mul_(2)
        return self.head((values + shortcut).tanh().mean((2, 3)))


CASES: dict[str, tuple[Callable[[], nn.Module], str, bool]] = {
    "last": (Pooled, "features", True),
    "first": (Deep, "features", True),
    "inside a residual sum": (lambda: resnet18(num_classes=7), "layer3.1.bn2", True),
    "before a concatenation": (lambda: squeezenet1_1(num_classes=7), "features.9.expand1x1", False),
    "dense": (lambda: densenet121(num_classes=7), "features.denseblock4.denselayer15", False),
    "tokens": (Vit, "encoder.layers.encoder_layer_0", True),
    "overwritten": (lambda: Overwriting("relu", in_place=True), "conv", True),
    "a shortcut added in place": (lambda: Overwriting("add", in_place=True), "conv", True),
    "a tuple": (lambda: Containers("tuple"), "inner", True),
    "a mapping": (lambda: Containers("dict"), "inner", True),
    "another batch size": (Branching, "conv", False),
    "a spoilt record": (Spoiling, "conv", False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_head_alone_gives_what_the_whole_model_gives(case: str) -> None:
    """For activations edited at random, whatever the code between; and without the trunk where that can be."""
    build, name, replays = CASES[case]
    model = roughened(seeded(build))
    size = 16 if case == "tokens" else 64
    images = image(1, size, size)
    layer = model.get_submodule(name)
    head = engine.Head(model, images, find(model, name))
    assert head._replays == replays
    edits = torch.rand(3, *head.layout.to_grid(head._value).shape[1:], generator=torch.Generator().manual_seed(3))

    def edit(output: Any, row: Tensor) -> Any:
        given = engine.passes.main_tensor(output).clone()
        head.layout.to_grid(given).copy_(row[None])
        return engine.passes.replaced(output, engine.passes.main_tensor(output), given)

    true = torch.cat([edited_forward(model, images, layer, 0, lambda o, row=row: edit(o, row)) for row in edits])
    assert_close(head(edits), true, rtol=1e-4, atol=1e-5)
    assert_close(head(edits), true, rtol=1e-4, atol=1e-5)  # and a second time
    assert (true[0] - true[1]).abs().max() > 1e-5


@pytest.mark.parametrize("call", [0, 1, 2])
def test_the_head_of_one_of_several_calls(call: int) -> None:
    model, images = seeded(Reused), image(1)
    head = engine.Head(model, images, find(model, ("shared", call)))
    edited = torch.rand(2, 5, 8, 8)
    true = [edited_forward(model, images, model.shared, call, lambda _, row=row: row[None]) for row in edited]
    assert_close(head(edited), torch.cat(true))


def test_no_call_is_the_last_call() -> None:
    model, images, edited = seeded(Reused), image(1), torch.rand(2, 5, 8, 8)
    last, third = (engine.Head(model, images, find(model, layer)) for layer in ("shared", ("shared", 2)))
    assert torch.equal(last(edited), third(edited))
    with pytest.raises(LayerNotReached):
        engine.Head(model, images, find(model, ("shared", 3)))


def test_the_trunk_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many versions are asked about: counted by the convolutions that run."""
    model, images = seeded(lambda: resnet18(num_classes=7)), image(1, 64, 64)
    runs, conv = [0], torch.nn.functional.conv2d
    monkeypatch.setattr(
        nn.Conv2d, "_conv_forward",
        lambda self, x, w, b: (
            runs.__setitem__(0, runs[0] + 1) if type(x) is Tensor else None,
            conv(x, w, b, self.stride, self.padding, self.dilation, self.groups),
        )[1],
    )  # fmt: skip
    head = engine.Head(model, images, find(model, "layer4"))
    monkeypatch.undo()
    modes: list[Any] = []

    class Count(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            modes.append(func)
            return func(*args, **(kwargs or {}))

    with Count():
        head(torch.rand(4, 512, 2, 2))
    assert runs[0] > 0
    assert torch.conv2d not in modes


# Versions of images.


@pytest.mark.parametrize("target", [
    1, [2, 0], [[1, 2], [3, 0]], "not:1", "2-vs:1", class_([2, 0]), contrast(class_(1), class_(0)), "top:2", None,
], ids=lambda t: t.__name__ if callable(t) else str(t))  # fmt: skip
def test_versions_are_scored_as_they_would_be_alone(target: Any) -> None:
    """Each version of each image, with that image's own target; the classes stay those of the image itself."""
    model, images = seeded(Residual), image(2, seed=4)
    versions = images[:, None] + 3 * torch.randn(2, 19, 3, 8, 8)
    ask = asking(model, images, target)
    found = ask.of_images(versions)
    values = torch.stack([model(versions[:, j]) for j in range(19)], 1).detach()
    own = model(images).argsort(1, descending=True)
    rows = {
        "1": lambda v: v[..., [1]],
        "[2, 0]": lambda v: torch.stack([v[0, :, [2]], v[1, :, [0]]]),
        "[[1, 2], [3, 0]]": lambda v: torch.stack([v[0][:, [1, 2]], v[1][:, [3, 0]]]),
        "not:1": lambda v: -v[..., [1]],
        "2-vs:1": lambda v: v[..., [2]] - v[..., [1]],
        "top:2": lambda v: torch.stack([v[n][:, own[n, :2]] for n in range(2)]),
        "None": lambda v: torch.stack([v[n][:, own[n, :1]] for n in range(2)]),
    }
    if callable(target):
        true = torch.stack([target(values[:, j]).reshape(2, -1) for j in range(19)], 1)
    else:
        true = rows[str(target)](values)
    assert_close(found, true)
    assert ask.passes.forwards == 1 + 19


def test_a_model_that_takes_views_is_asked_about_versions_too() -> None:
    """Versions go through with their channels last, in which a view of all of an image's values can't be taken."""

    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5 * 36, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.conv(images).relu().view(len(images), -1))

    model, images = seeded(Viewing), image(2, seed=4)
    versions = torch.randn(2, 19, 3, 8, 8)
    with torch.no_grad():
        true = model(versions.flatten(0, 1)).view(2, 19, 4)
        with pytest.raises(RuntimeError, match="view"):
            model(versions[0].contiguous(memory_format=torch.channels_last))
    assert_close(asking(model, images, [[0, 1, 2, 3]] * 2).of_images(versions), true)


def test_confidence_is_the_class_probability() -> None:
    model, images = seeded(Residual), image(2, seed=4)
    values = model(images).detach()
    shares = values.softmax(1)

    def confidence(target: Any, **changes: Any) -> Tensor:
        session = Session(model, images, question(target, Labels(()), 2))
        for name, value in changes.items():
            object.__setattr__(session.question, name, value)
        return Asking(session, None).confidence(images[:, None])[:, 0]

    assert_close(confidence([2, 0]), torch.stack([shares[0, 2], shares[1, 0]])[:, None])
    assert_close(confidence([[1, 2], [3, 0]]), torch.stack([shares[0, [1, 2]], shares[1, [3, 0]]]))
    assert_close(confidence("not:1"), 1 - shares[:, [1]])
    assert_close(confidence("1-vs:2"), values[:, [1, 2]].softmax(1)[:, :1])  # of the two alone
    assert_close(confidence(lambda output: output[:, 3] / 2), (values[:, [3]] / 2).sigmoid())
    assert_close(confidence(1, multi_label=True), values[:, [1]].sigmoid())


def test_edited_activations_keep_each_images_own_target() -> None:
    model, images = seeded(Pooled), image(2, seed=4)
    edited = torch.rand(2, 5, 6, 8, 8)
    values = model.head(edited.mean((3, 4))).detach()
    for target, true in (
        ([2, 0], torch.stack([values[0, :, 2:3], values[1, :, 0:1]])),
        (class_([2, 0]), torch.stack([values[0, :, 2:3], values[1, :, 0:1]])),
        (counterfactual(class_(1)), -values[..., 1:2]),
    ):
        assert_close(asking(model, images, target, "features").of_activations(edited), true)


def test_parts_cover_everything_in_small_slices_and_tell_how_far_they_are() -> None:
    told: list[tuple[int, int]] = []
    ask = asking(seeded(Pooled), image(2), 1, "features", progress=lambda done, of: told.append((done, of)))
    slices = list(ask.parts(21))
    assert [i for part in slices for i in range(21)[part]] == list(range(21))
    assert max(part.stop - part.start for part in slices) == 8  # sixteen images in a pass
    assert told[-1] == (21, 21)
    assert told == [(part.stop, 21) for part in slices]
    assert len(list(ask.parts(21, heads=True))) == 1


def test_a_long_method_tells_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    model = sightline.wrap(seeded(Pooled), preprocess=sightline.Preprocess(size=(8, 8), fit="squash"))
    picture = model.preprocess.shown(image(1)[0])
    sightline.compare(
        model, picture, 1, methods=["grad-cam", "rise:masks=40"],
        progress=lambda method: lambda done, of: told.append((method.name, done, of)),
    )  # fmt: skip
    assert told[-1] == ("rise", 40, 40)
    assert {name for name, _, _ in told} == {"rise"}


# What a rule is given.


def test_the_question_asked_of_other_images_stays_the_same() -> None:
    """The predicted class is that of the image, and not of each noisy one."""
    model, images = seeded(Residual), image(2, seed=4)
    best = model(images).argmax(1)
    others = 200 * images.flip(0)
    assert (model(others).argmax(1) != best).any()
    _, gradients = asking(model, images, None, "late").at_layer(others)
    _, true = asking(model, others, best.tolist(), "late").at_layer()
    assert torch.equal(gradients, true)


def test_a_rule_over_another_image_and_layer() -> None:
    model, images = seeded(Residual), image(2, 16, 12, seed=4)
    ask = asking(model, images, 1, "late")
    row = sightline.methods.method("grad-cam")
    assert list(ask.layers()) == ["early", "late"]
    assert_close(ask.maps(row), sightline.maps(model, images, [[1]] * 2, layer="late"))
    assert_close(ask.maps(row, -images, 0), sightline.maps(model, -images, [[1]] * 2, layer="early"))


def test_images_without_height_are_refused_where_a_method_is_of_planes() -> None:
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(MethodError, match=r"lime is defined for images \(N, C, H, W\), got \(1, 3, 20\)"):
        sightline.maps(net, torch.rand(1, 3, 20), 1, layer="0", method="lime")


def test_curvature_is_the_hessian_times_the_activations() -> None:
    model, images = seeded(Deep).double(), image(1, 3, 2, dtype=torch.float64)
    activations, gradients, curved = asking(model, images, 1, "features").curvature()

    def score(values: Tensor) -> Tensor:
        return model.head(values.view(1, 6, 3, 2).square().mean((2, 3)))[0, 1]

    flat = activations.flatten()
    assert_close(gradients.flatten(), torch.autograd.functional.jacobian(score, flat))
    assert_close(curved.flatten(), torch.autograd.functional.hessian(score, flat) @ flat)


def test_a_climb_goes_down_its_loss() -> None:
    """Adam by hand: one step moves every variable by the rate, against the sign of its gradient."""
    model, images = seeded(Pooled), image(2, seed=4)
    ask = asking(model, images, [[0, 1], [2, 3]])
    start = torch.zeros(2, 2, 1, 8, 8)
    found = ask.climb(start, lambda v: images + v, lambda scores, v: -scores, steps=1, rate=0.1)
    slopes = ask.at_image().sum(2, keepdim=True)
    assert_close(found, 0.1 * slopes.sign(), rtol=1e-3, atol=1e-3)
    further = ask.climb(start, lambda v: images + v, lambda scores, v: -scores, steps=20, rate=0.1)
    better = torch.stack([ask.of_images((images + further[:, k])[:, None])[:, 0, k] for k in range(2)], 1)
    assert (better > ask.scores).all()


def test_a_target_that_reads_no_logits_has_no_relevance() -> None:
    class Two(Pooled):
        def forward(self, images: Tensor) -> Any:
            features = self.features(self.conv(images)).mean((2, 3))
            return {"logits": self.head(features), "size": features.sum(1, keepdim=True)}

    with pytest.raises(CutOff, match="doesn't read the logits"):
        sightline.maps(seeded(Two), image(), lambda output: output["size"], layer="features", method="lrp-epsilon")


# Options.


def test_options_go_behind_the_name() -> None:
    row = sightline.methods.method("rise:masks=40:keep=0.25")
    assert (row.name, row.choices["masks"], row.choices["keep"]) == ("rise", 40, 0.25)
    assert sightline.methods.method("integrated-gradients:baseline=mean").choices["baseline"] == "mean"


@pytest.mark.parametrize(("text", "said"), [
    ("rise:mask=40", "rise has no option 'mask'; its options: masks="),
    ("grad-cam:masks=4", "grad-cam has no option 'masks'; its options: none"),
    ("rise:40", "expected NAME=VALUE"),
    ("rize:masks=40", "no method 'rize'"),
])  # fmt: skip
def test_an_option_that_is_not_there_is_refused(text: str, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        sightline.methods.method(text)


def test_a_method_of_ones_own() -> None:
    def darkest(ask: Questions, *, generator: torch.Generator, patches: int = 2) -> Tensor:
        return ask.image.mean(1, keepdim=True).neg() + torch.rand(1, generator=generator) * patches

    row = Method("darkest", darkest, "none", "where it is dark", kind=Kind.ASKING, layered=False)
    found = sightline.maps(seeded(Pooled), image(2), 1, method=row.set(patches=0))
    assert_close(found, -image(2).mean(1))
    assert row.seeded
