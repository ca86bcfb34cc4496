"""What holds for every row of METHODS on every net: a new row is tested here without a new line."""

import math
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from nets import Pooled, image, roughened, seeded
from rows import NETS, ROWS, defined, evaluated, own_net, rows_on
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.ask import ask
from sightline.errors import MethodError, ModelError
from sightline.layers import find
from sightline.targets import question
from sightline.types import Kind, Method, Needs

HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
)  # fmt: skip
STATES = ("pooled", "residual", "vit", "resnet18", "squeezenet", "trained")

pytestmark = pytest.mark.filterwarnings("ignore::sightline.methods.integrated_gradients.CompletenessWarning")
every_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
every_row_and_net = rows_on("pooled", "residual", "vit", "resnet18", "squeezenet")
_built: dict[str, nn.Module] = {}


def asked(name: str, images: int = 3) -> tuple[nn.Module, Tensor, str]:
    """The net of that name with images and its layer."""
    build, layer, size = NETS[name]
    model = _built.setdefault(name, roughened(seeded(build)))
    return model, image(images, *size, seed=5), layer


def same(found: Tensor, true: Tensor) -> None:
    """Equal to float tolerance, beside the map's largest value."""
    assert true.abs().max() > 0
    assert_close(found, true, rtol=1e-4, atol=2e-5 * float(true.abs().max()))


@every_row_and_net
def test_a_batch_is_its_images_one_by_one_each_with_its_own_target(row: Method, name: str) -> None:
    model, images, layer = asked(name)
    targets = [3, 0, 2]
    found = sightline.maps(model, images, targets, layer=layer, method=row)
    alone = [sightline.maps(model, images[i : i + 1], targets[i], layer=layer, method=row) for i in range(len(targets))]
    same(found, torch.cat(alone))


@every_row_and_net
def test_several_targets_are_each_asked_alone(row: Method, name: str) -> None:
    model, images, layer = asked(name, 2)
    targets = [[3, 0, 2], [1, 1, 3]]
    found = sightline.maps(model, images, targets, layer=layer, method=row)
    assert found.shape[:2] == (2, 3)
    alone = [sightline.maps(model, images, [own[k] for own in targets], layer=layer, method=row) for k in range(3)]
    same(found, torch.stack(alone, 1))


@every_row_and_net
def test_no_target_is_the_predicted_class_of_each_image(row: Method, name: str) -> None:
    model, images, layer = asked(name)
    best = model(images).argmax(1).tolist()
    found = sightline.maps(model, images, layer=layer, method=row)
    assert torch.equal(found, sightline.maps(model, images, best, layer=layer, method=row))


@every_row_and_net
def test_repeats_bit_for_bit(row: Method, name: str) -> None:
    model, images, layer = asked(name, 2)
    first, second = (sightline.maps(model, images, [[1, 2]] * 2, layer=layer, method=row) for _ in range(2))
    assert torch.equal(first, second)
    assert first.isfinite().all()


@every_row
@pytest.mark.parametrize("relu", [True, False])
def test_a_dead_layer_gives_finite_maps_and_a_headless_one_too(row: Method, relu: bool) -> None:
    """Weights of 0 before the layer, or after it: activations, or gradients, are 0."""
    if not defined(row, "pooled") or (row.needs is Needs.RELU and not relu):
        return
    images = image(2, 5, 6)
    model = seeded(lambda: Pooled(relu=relu))
    with torch.no_grad():
        model.conv.weight.zero_(), model.conv.bias.zero_()
    found = sightline.maps(model, images, [[0, 1]] * 2, layer="features", method=row)
    assert found.isfinite().all()
    if row.kind is not Kind.ASKING:
        assert torch.equal(found, torch.zeros(2, 2, 5, 6))
    model = seeded(lambda: Pooled(relu=relu))
    with torch.no_grad():
        model.head.weight.zero_()
    found = sightline.maps(model, images, 0, layer="features", method=row)
    assert found.isfinite().all()
    if row.kind is not Kind.ASKING:
        assert bool(found.any()) == (not row.discriminative)


# What a row says of itself.


@every_row
def test_signed_is_true(row: Method) -> None:
    """Over signed activations a signed row's maps have negative values, and no other's ever do."""
    name = own_net(row)
    lowest = []
    for seed in range(8):
        if name == "pooled":
            model = seeded(lambda: Pooled(relu=row.needs in (Needs.RELU, Needs.RULES)), seed)
            images, layer = image(seed=seed), "features"
        else:
            _, images, layer = asked(name)
            model = seeded(NETS[name][0], seed)
        lowest.append(float(sightline.maps(model, images, 1, layer=layer, method=row).min()))
    assert min(lowest) < 0 if row.signed else min(lowest) >= 0


@every_row_and_net
def test_discriminative_is_true(row: Method, name: str) -> None:
    model, images, layer = asked(name, 1)
    found = sightline.maps(model, images, [[0, 1, 2, 3]], layer=layer, method=row)[0]
    changes = [float((found[k] - found[0]).abs().max() / found.abs().max()) for k in range(1, 4)]
    assert max(changes) > 1e-3 if row.discriminative else max(changes) == 0


@every_row
def test_layered_is_true(row: Method) -> None:
    """Only a row that says so asks about a layer: others answer the same at any, and without one."""
    name = "residual" if defined(row, "residual") else own_net(row)
    model, images, layer = asked(name, 1)
    other = {"residual": "early", "pooled": "conv"}.get(name)
    found = sightline.maps(model, images, 1, layer=layer, method=row)
    if row.needs is Needs.LINEAR_HEAD:
        return  # which only the last layer has
    if row.layered:
        elsewhere = sightline.maps(model, images, 1, layer=other, method=row)
        assert found.shape != elsewhere.shape or not torch.equal(found, elsewhere)
    else:
        assert torch.equal(found, sightline.maps(model, images, 1, layer="no such layer", method=row))


@every_row
def test_seeded_is_true(row: Method) -> None:
    model, images, layer = asked("residual" if defined(row, "residual") else own_net(row), 1)
    found = [sightline.maps(model, images, 1, layer=layer, method=row, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]) == (not row.seeded)


REFUSERS: dict[Needs, tuple[str, str]] = {
    Needs.LINEAR_HEAD: ("trained", "Relu"),
    Needs.RELU: ("vit", "Gelu"),
    Needs.RULES: ("vit", "layer_norm|attention"),
    Needs.BIASES: ("vit", "piecewise linear"),
    Needs.ATTENTION: ("resnet18", "attention"),
}


@every_row
def test_needs_is_true(row: Method) -> None:
    """A row that needs something of a model refuses one without, naming what is in the way; other rows don't."""
    name, culprit = REFUSERS.get(row.needs, ("trained", ""))
    model, images, layer = asked(name)
    if row.name == "attn-lrp":  # has rules for transformers too
        model, images, culprit = (
            nn.Sequential(nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(48, 4)),
            image(1, 4, 4),
            "group",
        )
    layer = "conv" if name == "trained" else layer
    if row.needs in REFUSERS:
        with pytest.raises(MethodError, match=f"(?i){culprit}"):
            sightline.maps(model, images, 0, layer=layer, method=row)
    else:
        assert sightline.maps(model, images, 0, layer=layer, method=row).abs().max() > 0


@every_row
def test_cost_is_true(row: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """The formulas in the row give what is counted, and what is counted is what the model sees."""
    name = "residual" if defined(row, "residual") else own_net(row)
    model, images, layer = asked(name, 1)
    backwards, seen, differentiate = [0], [0], torch.autograd.grad

    def counted(*args: Any, **named: Any) -> Any:
        backwards[0] += 1
        return differentiate(*args, **named)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    handle = model.register_forward_pre_hook(lambda _, given: seen.__setitem__(0, seen[0] + len(given[0])))
    try:
        asking = question(1, sightline.Labels(()), 1)
        (found,) = ask(model, images, asking, [find(model, layer)], [row]).found
    finally:
        handle.remove()
    channels, positions = (9, 8 * 6) if name == "residual" else (6, 9 * 7)
    windows = (
        math.prod(len(range(0, side - row.choices["window"], row.choices["stride"])) + 1 for side in images.shape[2:])
        if "window" in row.choices
        else 0
    )
    sizes = {"channels": channels, "positions": positions, "layers": 2, "windows": windows}
    stated = [evaluated(text, row, **sizes) for text in (row.forwards, row.backwards, row.heads)]
    passes = [found.passes.forwards, found.passes.backwards, found.passes.heads]
    if row.name == "muting":  # which ends when the class is gone
        assert passes < stated
    else:
        assert passes == stated
    if not passes[2]:
        assert seen[0] == passes[0]
        assert backwards[0] == passes[1] or row.needs is Needs.RULES


@every_row
def test_kind_is_true(row: Method) -> None:
    activations, gradients = image(dtype=torch.float64), image(seed=1, dtype=torch.float64)
    if row.kind is Kind.ASKING:
        with pytest.raises(TypeError, match="asks the model"):
            row.maps(activations, gradients)
    elif row.kind is Kind.GRADIENT:
        with pytest.raises(TypeError, match=row.name):
            row.maps(activations, None)
        assert not torch.equal(row.maps(activations, gradients), row.maps(activations, -gradients))
    else:
        assert torch.equal(row.maps(activations, None), row.maps(activations, gradients))


@every_row
def test_paper_is_named_beside_the_rule(row: Method) -> None:
    words = " ".join((sys.modules[row.rule.__module__].__doc__ or "").split())
    assert row.paper in words
    assert row.rule.__doc__


def test_names_are_found_as_people_write_them() -> None:
    names = [row.name for row in sightline.METHODS]
    assert len(set(names)) == len(names)
    for row in sightline.METHODS:
        joined = [row.name.replace("-", between) for between in ("_", " ", "")]
        for spelling in (row, row.name, row.name.upper(), *joined):
            assert sightline.methods.method(spelling) is row
    for spelling in ("Grad-CAM++", "gradcamplusplus", "grad_cam_plus_plus"):
        assert sightline.methods.method(spelling).name == "grad-cam++"


@pytest.mark.parametrize(
    ("wrong", "near"), [("grad-cat", "'grad-cam'"), ("hirescan", "'hires-cam'"), ("", "'grad-cam'")]
)
def test_an_unknown_name_is_refused_with_its_nearest(wrong: str, near: str) -> None:
    with pytest.raises(MethodError, match=f"no method {wrong!r}.*{near}"):
        sightline.methods.method(wrong)


# A model is borrowed.


def state_of(model: nn.Module, images: Tensor) -> dict[str, Any]:
    """Everything that an explanation could leave changed."""
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {
            (name, kind): [(key, id(hook)) for key, hook in getattr(module, kind).items()]
            for name, module in model.named_modules() for kind in HOOKS
        },
        "weights": {name: (value.numpy().tobytes(), value._version) for name, value in model.state_dict().items()},
        "parameters": {name: (id(p), p.requires_grad, p.is_leaf) for name, p in model.named_parameters()},
        "gradients": {
            name: (id(p.grad), p.grad.numpy().tobytes()) for name, p in model.named_parameters() if p.grad is not None
        },
        "random": torch.get_rng_state().numpy().tobytes(),
        "image": (images.requires_grad, images.grad, images._version, images.detach().numpy().tobytes()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()),
    }  # fmt: skip


class StumbleError(Exception):
    """No error of ours."""


def stumble(*_: Any) -> Any:
    torch.rand(3)
    raise StumbleError


def half_trained(name: str) -> tuple[nn.Module, Tensor, str]:
    """A net in a state of its own: some modules training, some frozen, some with gradients, hooks of its user's."""
    build, layer, size = NETS[name]
    model = roughened(seeded(build))
    for i, module in enumerate(model.modules()):
        module.training = i % 3 != 1
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad = i % 2 == 0
        parameter.grad = torch.full_like(parameter, 0.25) if i % 4 == 0 else None
    next(model.children()).register_forward_hook(lambda *_: None)
    return model, image(2, *size, seed=5).requires_grad_(), layer


@pytest.mark.parametrize("how", ["returns", "target raises", "model raises", "rule raises", "layer is missing"])
@rows_on("residual", "trained", "vit")
def test_the_model_is_left_as_found(row: Method, name: str, how: str) -> None:
    if how == "layer is missing" and not row.layered:
        return
    model, images, layer = half_trained(name)
    target: Any = [1, 2]
    if how == "target raises":
        target = stumble
    elif how == "model raises":
        *_, last = model.modules()
        last.register_forward_hook(stumble)
    elif how == "rule raises":
        row = replace(row, rule=stumble, options={}, needs=Needs.NOTHING)
    elif how == "layer is missing":
        layer = "nowhere"
    before = state_of(model, images)
    if how == "returns":
        assert sightline.maps(model, images, target, layer=layer, method=row).isfinite().all()
    else:
        with pytest.raises(StumbleError if "raises" in how else sightline.errors.LayerNotFound):
            sightline.maps(model, images, target, layer=layer, method=row)
    after = state_of(model, images)
    for part, found in before.items():
        assert after[part] == found, part


@pytest.mark.parametrize("name", STATES)
def test_the_model_is_left_as_found_by_a_choice_of_layer(name: str) -> None:
    """Without a layer the net is run more than once, with hooks on every module."""
    model, images, _ = half_trained(name)
    before = state_of(model, images)
    assert sightline.maps(model, images, 1).isfinite().all()
    *_, last = model.modules()
    assert state_of(model, images) == before
    last.register_forward_hook(stumble)
    before = state_of(model, images)
    with pytest.raises(StumbleError):
        sightline.maps(model, images, 1)
    assert state_of(model, images) == before


def test_an_error_inside_the_model_keeps_its_cause_and_the_model() -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the head is loose")

    model, images, layer = half_trained("resnet18")
    model.fc.register_forward_hook(fail)
    before = state_of(model, images)
    with pytest.raises(ModelError, match=r"ResNet failed on an image of shape \(2, 3, 64, 96\).*the head is loose"):
        sightline.maps(model, images, 1, layer=layer)
    assert state_of(model, images) == before
