"""Models as people have them, against gradients that are worked out here without the engine."""

import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from nets import (
    Containers,
    Custom,
    Deep,
    Detours,
    Disconnected,
    Failing,
    Overwriting,
    Pooled,
    Reused,
    Trained,
    Unrecorded,
    captured,
    grad_cam_of,
    image,
    relative_error,
    roughened,
    seeded,
)
from rows import NETS, ROWS, own_net
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.engine import gradients, loan
from sightline.errors import CutOff, LayerError, LayerNotReached, ModelError, NoSpace, TargetError
from sightline.types import Kind, Method


def first(output: Tensor) -> Tensor:
    return output[:, 1]


def reference(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Grad-CAM of class 1, without the engine."""
    return grad_cam_of(*captured(model, model.get_submodule(layer), images, first))


# Layers.


@pytest.mark.parametrize(
    ("step", "layer"), [("relu", "relu"), *((step, x) for step in Overwriting.STEPS for x in ("stem", "conv", "mix"))]
)
def test_a_layer_before_an_in_place_step_is_exact(step: str, layer: str) -> None:
    """Equal to a float64 run of the same net in which nothing is overwritten."""
    ours = seeded(lambda: Overwriting(step, in_place=True))
    true = seeded(lambda: Overwriting(step, in_place=False)).double()
    activations, gradients = captured(true, true.get_submodule(layer), image(dtype=torch.float64), first)
    for method, rule in (("grad-cam", grad_cam_of), ("hires-cam", lambda a, g: (a * g).sum(1))):
        found, wanted = sightline.maps(ours, image(), 1, layer=layer, method=method), rule(activations, gradients)
        assert_close(found.double(), wanted, rtol=0, atol=1e-5 * max(float(wanted.abs().max()), 1e-12))
    assert found.any()


def test_layers_before_and_after_in_place_steps_in_one_pass() -> None:
    """All in one pass, in the order asked, are what each is alone; the model runs once."""
    for step in Overwriting.STEPS:
        model, asked = seeded(lambda: Overwriting(step, in_place=True)), ["mix", "stem", "conv", "stem"]  # noqa: B023
        runs: list[int] = []
        model.register_forward_pre_hook(lambda *_: runs.append(1))  # noqa: B023
        together = sightline.maps(model, image(), [[1, 3]] * 2, layer=asked)
        assert len(runs) == 1
        for name, found in zip(asked, together, strict=True):
            assert_close(found, sightline.maps(model, image(), [[1, 3]] * 2, layer=name))
            assert found.any()


def test_each_call_of_a_reused_layer() -> None:
    """Its first, second and third call each have a map of their own; the last is meant where none is said."""
    model, images = seeded(Reused).double(), image(dtype=torch.float64)
    values, calls = model.stem(images), []
    for _ in range(3):
        calls.append(model.shared(values))
        values = calls[-1].tanh()
    output = model.head(values.square().mean((2, 3)))
    assert torch.equal(output, model(images))
    gradients = torch.autograd.grad(output[:, 1].sum(), calls)
    true = [grad_cam_of(a.detach(), g) for a, g in zip(calls, gradients, strict=True)]
    for i in range(3):
        assert_close(sightline.maps(model, images, 1, layer=("shared", i)), true[i])
        assert_close(sightline.maps(model, images, 1, layer=(model.shared, i)), true[i])
    assert_close(sightline.maps(model, images, 1, layer="shared"), true[2])
    several = sightline.maps(model, images, 1, layer=[("shared", 1), "shared", ("shared", 0), "stem"])
    for found, wanted in zip(several, [true[1], true[2], true[0], reference(model, "stem", images)], strict=True):
        assert_close(found, wanted)
    assert min(float((true[i] - true[j]).abs().max()) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-6


@pytest.mark.parametrize("call", [3, -1])
def test_a_call_that_was_not_made(call: int) -> None:
    with pytest.raises(LayerNotReached, match=f"'shared'.*called 3 times.*no call {call}"):
        sightline.maps(seeded(Reused), image(), 1, layer=("shared", call))


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "named"])
def test_a_layer_that_gives_a_container(kind: str) -> None:
    """The first floating-point tensor in it is meant, and the container keeps its kind and the rest."""
    model = seeded(lambda: Containers(kind))
    true = reference(seeded(lambda: Containers("plain")), "inner", image())
    assert_close(sightline.maps(model, image(), 1, layer="inner"), true)


def test_a_layer_that_is_never_called() -> None:
    with pytest.raises(LayerNotReached, match=r"'spare' \(Conv2d\) isn't called"):
        sightline.maps(seeded(Detours), image(), 1, layer="spare")


def test_a_layer_off_the_way_to_the_score() -> None:
    with pytest.raises(CutOff, match=r"doesn't depend on layer 'aside' \(Conv2d\)"):
        sightline.maps(seeded(Detours), image(), 1, layer="aside")
    with pytest.raises(CutOff, match="'aside'"):
        sightline.maps(seeded(Detours), image(), 1, layer=["conv", "aside"])


@pytest.mark.parametrize("layer", ["pool", "flat", "head"])
def test_a_layer_without_space(layer: str) -> None:
    with pytest.raises(NoSpace, match=f"'{layer}'.*no grid"):
        sightline.maps(seeded(Detours), image(), 1, layer=layer)


def test_a_layer_that_gives_integers() -> None:
    with pytest.raises(LayerError, match=r"'wholes' \(Wholes\) gives a torch.int64 tensor"):
        sightline.maps(seeded(Detours), image(), 1, layer="wholes")


def test_a_target_off_the_model() -> None:
    """A score that doesn't depend on the model at all is cut off from every layer, not a map of zeros."""
    with pytest.raises(CutOff, match="'conv'"):
        sightline.maps(seeded(Detours), image(), lambda output: torch.ones(len(output)), layer="conv")


# Grad modes.


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam"])
@pytest.mark.parametrize("net", [Pooled, Unrecorded])
def test_the_callers_grad_mode_is_irrelevant(
    net: type[nn.Module], mode: Callable[[], AbstractContextManager[None]], method: str
) -> None:
    """Also where the image was made under inference_mode, and where the layer is chosen."""
    model = seeded(net)
    true = sightline.maps(model, image(), 1, method=method)
    with mode():
        images = image() * 1
        found = sightline.maps(model, images, 1, method=method)
    assert torch.equal(found, true)
    assert torch.equal(sightline.maps(model, images, 1, method=method), true)
    assert not found.requires_grad


def test_nothing_before_the_layer_is_recorded() -> None:
    model, modes = seeded(Trained), {}
    for name, module in model.named_children():
        module.register_forward_pre_hook(lambda *_, name=name: modes.__setitem__(name, torch.is_grad_enabled()))
    sightline.maps(model, image(), 1, layer="relu")
    assert modes == {"conv": False, "norm": False, "relu": False, "drop": True, "head": True}


@pytest.mark.parametrize("layer", ["stem", "trunk", "neck"])
def test_a_model_that_switches_recording_off_itself(layer: str) -> None:
    """Inside its no_grad block the layer is still explained: as if the block weren't there."""
    model = seeded(Unrecorded)
    model.off = nullcontext
    true = reference(model, layer, image())
    assert_close(sightline.maps(seeded(Unrecorded), image(), 1, layer=layer), true)


def test_layers_inside_and_after_a_no_grad_block_in_one_pass() -> None:
    model = seeded(Unrecorded)
    alone = [sightline.maps(model, image(), 1, layer=name) for name in ("neck", "trunk")]
    assert_close(sightline.maps(model, image(), 1, layer=["neck", "trunk"]), alone)


def test_a_model_that_runs_its_trunk_in_inference_mode() -> None:
    """There no gradient can be taken, which is said; the layer after it can be, and is the one chosen."""
    model = seeded(lambda: Unrecorded(inference=True))
    with pytest.raises(CutOff, match=r"'trunk' runs under torch.inference_mode"):
        sightline.maps(model, image(), 1, layer="trunk")
    true = sightline.maps(seeded(Unrecorded), image(), 1, layer="neck")
    assert_close(sightline.maps(model, image(), 1, layer="neck"), true)
    assert_close(sightline.maps(model, image(), 1), true)


def test_frozen_parameters_and_gradients_of_ones_own() -> None:
    model = seeded(Deep)
    true = sightline.maps(model, image(), 1, layer="features")
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    assert torch.equal(sightline.maps(model, image(), 1, layer="features"), true)
    assert all((parameter.grad == 7).all() for parameter in model.parameters())
    assert torch.equal(sightline.maps(model.requires_grad_(False), image(), 1, layer="features"), true)
    assert not any(parameter.requires_grad for parameter in model.parameters())


# Training.


def test_training_mode_explains_the_model_in_eval_mode() -> None:
    """Batch norm's statistics aren't updated, dropout drops nothing, and the flags come back."""
    model = roughened(seeded(Trained))
    true = sightline.maps(model, image(), 1, layer="relu")
    assert_close(true, reference(model, "relu", image()))
    model.train()
    model.norm.eval()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert torch.equal(sightline.maps(model, image(), 1, layer="relu"), true)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


# Threads.


@pytest.mark.parametrize("training", [False, True])
def test_threads_that_share_a_model(training: bool) -> None:
    """40 explanations of different images, targets and layers in four threads are the serial ones."""
    model = roughened(seeded(Trained)).train(training)
    jobs = [(image(2, 24, 24, seed=i), [i % 4, (i + 1) % 4], ("conv", "norm", "relu")[i % 3]) for i in range(40)]
    serial = [sightline.maps(model, images, target, layer=layer) for images, target, layer in jobs]
    before, switching = torch.get_rng_state(), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda job: sightline.maps(model, job[0], job[1], layer=job[2]), jobs))
    finally:
        sys.setswitchinterval(switching)
    for ours, true in zip(found, serial, strict=True):
        assert_close(ours, true)
    assert all(module.training == training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_hooks for module in model.modules())


class Meeting(nn.Module):
    """A pooled net before whose layer two threads wait for each other, so that both have their hooks on it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Pooled()
        self.together: threading.Barrier | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.together is not None:
            self.together.wait(20)
        output: Tensor = self.net(images)
        if self.together is not None:
            self.together.wait(20)
        return output


def test_a_hook_acts_only_in_the_thread_that_asked() -> None:
    """Two threads are in the model at once, certainly, and neither sees the other's activations."""
    model = seeded(Meeting)
    asked = [(image(seed=i), [i, 3 - i]) for i in range(2)]

    def explain(job: tuple[Tensor, list[int]]) -> list[Tensor]:
        return [sightline.maps(model, *job, layer="net.features"), sightline.maps(model, *job, layer=("net.conv", 0))]

    serial = [explain(job) for job in asked]
    model.together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(explain, asked))
    for ours, true in zip(found, serial, strict=True):
        assert_close(ours, true)


@pytest.mark.parametrize("leaves_first", ["the first", "the second"])
def test_flags_come_back_when_the_last_thread_leaves(leaves_first: str) -> None:
    """While one thread is still inside, another that is done doesn't switch the model back to training."""
    model = seeded(Trained).train()
    inside, done = [threading.Event(), threading.Event()], threading.Event()
    seen: list[bool] = []

    def asking(which: int) -> Callable[[Tensor], Tensor]:
        def target(output: Tensor) -> Tensor:
            inside[which].set()
            assert inside[1 - which].wait(20)
            if (which == 0) == (leaves_first == "the second"):  # this one stays until the other has left
                assert done.wait(20)
                seen.append(model.training or model.norm.training)
            return output[:, 1]

        return target

    def explain(which: int) -> None:
        sightline.maps(model, image(), asking(which), layer="relu")
        done.set()

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(explain, 0)
        assert inside[0].wait(20)
        two = threads.submit(explain, 1)
        one.result(30), two.result(30)
    assert seen == [False]
    assert all(module.training for module in model.modules())


# Precision.


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "hires-cam", "eigen-cam"])
def test_half_precision_models_give_float32_maps_near_the_float32_models(
    dtype: torch.dtype, error: float, method: str
) -> None:
    model, targets = roughened(seeded(Trained)), [[1, 2]] * 2
    true = sightline.maps(model, image(), targets, layer="relu", method=method)
    found = sightline.maps(model.to(dtype), image(dtype=dtype), targets, layer="relu", method=method)
    assert found.dtype is torch.float32
    assert relative_error(found, true) < error


@pytest.mark.parametrize("weight", [1e-4, 1e4])
def test_float16_gradients_neither_vanish_nor_overflow(weight: float) -> None:
    """1e-4 / 2304 cells is below float16's smallest number; 256 times 1e4 is beyond its largest."""
    model = seeded(Pooled)
    with torch.no_grad():
        model.head.weight.fill_(weight)
        model.head.bias.zero_()
    pool = nn.AdaptiveAvgPool2d(1) if weight < 1 else nn.AdaptiveMaxPool2d(1)
    model.pool = pool
    images = image(1, 48, 48) / 50
    true = sightline.maps(model, images, 1, layer="features", method="hires-cam")
    found = sightline.maps(model.half(), images.half(), 1, layer="features", method="hires-cam")
    assert relative_error(found, true) < 0.01


def test_float64_models_stay_in_float64() -> None:
    model, images = seeded(Deep).double(), image(dtype=torch.float64)
    found = sightline.maps(model, images, 1, layer="features")
    assert found.dtype is torch.float64
    assert relative_error(found, reference(model, "features", images)) < 1e-13


@pytest.mark.filterwarnings("ignore::sightline.methods.integrated_gradients.CompletenessWarning")
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_callers_autocast_reaches_the_model_only(row: Method) -> None:
    """Maps are float32 and are computed in it, from activations that bfloat16 has rounded."""
    build, layer, size = NETS[own_net(row)]
    model, images = seeded(build), image(2, *size)
    true = sightline.maps(model, images, 1, layer=layer, method=row)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sightline.maps(model, images, 1, layer=layer, method=row)
    assert found.dtype is torch.float32
    assert found.isfinite().all()
    if row.kind is not Kind.ASKING:
        assert 0 < relative_error(found, true) < 0.05
        assert not torch.equal(found, found.bfloat16().float())
    elif row.name not in ("muting", "extremal-perturbation", "lime"):  # which choose among things nearly equal
        assert 0 < relative_error(found, true) < 0.3


def test_memory_format_is_irrelevant() -> None:
    model, images = roughened(seeded(Trained)), image(2, 9, 7)
    true = sightline.maps(model, images, 1, layer="relu")
    last = torch.channels_last
    assert_close(sightline.maps(model.to(memory_format=last), images.to(memory_format=last), 1, layer="relu"), true)


# Wrappers.


def counting(runs: list[int]) -> Callable[..., Any]:
    """A backend for torch.compile that counts how often its code runs."""

    def backend(graph: Any, _: Any) -> Any:
        def run(*inputs: Any) -> Any:
            runs.append(1)
            return graph(*inputs)

        return run

    return backend


@pytest.mark.parametrize("how", ["wrapper", "in place", "part wrapped", "part in place", "forward"])
def test_compiled_models(how: str) -> None:
    """Maps are those of the model that isn't compiled, whose compiled code then runs as before."""
    torch._dynamo.reset()
    plain, model, runs = seeded(Disconnected), seeded(Disconnected), []
    asked: nn.Module = model
    if how == "wrapper":
        asked = torch.compile(model, backend=counting(runs))
    elif how == "in place":
        model.compile(backend=counting(runs))
    elif how == "part wrapped":
        model.late = torch.compile(model.late, backend=counting(runs))
    elif how == "part in place":
        model.late.compile(backend=counting(runs))
    else:
        model.forward = torch.compile(model.forward, backend=counting(runs))
    with torch.no_grad():
        expected = asked(image())
    assert runs
    at = len(runs)
    for layer in ("early", "late"):
        true = sightline.maps(plain, image(), [[1, 2]] * 2, layer=layer)
        assert_close(sightline.maps(asked, image(), [[1, 2]] * 2, layer=layer), true)
    inner = "late._orig_mod.inner.0" if how == "part wrapped" else "late.inner.0"
    true = sightline.maps(plain, image(), 3, layer="late.inner.0")
    assert_close(sightline.maps(asked, image(), 3, layer=inner), true)
    assert len(runs) == at
    with torch.no_grad():
        assert_close(asked(image()), expected)
    assert len(runs) > at


def test_compiled_models_in_threads() -> None:
    model, plain = seeded(Pooled), seeded(Pooled)
    model.compile(backend="eager")
    jobs = [(image(seed=i), i % 4) for i in range(12)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda job: sightline.maps(model, *job, layer="conv"), jobs))
    for ours, job in zip(found, jobs, strict=True):
        assert_close(ours, sightline.maps(plain, *job, layer="conv"))
    assert loan._stance.users == 0
    assert not loan._loans


def test_data_parallel_wrappers() -> None:
    model = seeded(Deep)
    true = sightline.maps(model, image(), 1, layer="features")
    wrapped = nn.DataParallel(model)
    for layer in ("features", "module.features", model.features, None):
        assert torch.equal(sightline.maps(wrapped, image(), 1, layer=layer), true)


def test_the_layers_of_torchscript_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripts = [torch.jit.script(seeded(Deep)), torch.jit.trace(seeded(Deep), image())]
    for script in scripts:
        with pytest.raises(LayerError, match=r"TorchScript.*\.pt2"):
            sightline.maps(script, image(), 1, layer="features")


# Heads and outputs.


def test_a_custom_function_without_a_batching_rule() -> None:
    """Several targets are then asked one after another, and equal those of the same function built in."""
    targets = [[0, 4, 2, 5]] * 2
    found = sightline.maps(seeded(Custom), image(), targets, layer="features")
    assert found.flatten(2).any(2).any(0).sum() >= 3
    assert_close(found, sightline.maps(seeded(lambda: Custom(custom=False)), image(), targets, layer="features"))


@pytest.mark.parametrize(("chunk_bytes", "widest"), [(gradients.CHUNK_BYTES, 64), (1, 1), (5 * 2 * 6 * 8 * 8 * 4, 5)])
@pytest.mark.parametrize("method", ["grad-cam", "hires-cam"])
def test_many_targets_in_chunks(chunk_bytes: int, widest: int, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """130 targets of two images are each what it is alone; one pass back answers as many as memory and 64 allow."""
    model = seeded(lambda: Pooled(classes=130))
    alone = [sightline.maps(model, image(), k, layer="features", method=method) for k in range(130)]
    monkeypatch.setattr(gradients, "CHUNK_BYTES", chunk_bytes)
    widths, together = [], gradients._differentiate

    def noted(scores: Tensor, columns: Tensor, *rest: Any) -> Any:
        widths.append(columns.shape[1])
        return together(scores, columns, *rest)

    monkeypatch.setattr(gradients, "_differentiate", noted)
    found = sightline.maps(model, image(), [list(range(130))] * 2, layer="features", method=method)
    assert_close(found, torch.stack(alone, 1))
    assert (sum(widths), max(widths)) == (130, widest)


@dataclass
class Answer:
    """An output as Hugging Face's models give it."""

    logits: Tensor
    hidden: Tensor | None = None


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "object"])
def test_outputs_in_containers(kind: str) -> None:
    """Read as the plain tensor is, and the model runs once for all that."""
    put: dict[str, Callable[[Tensor], Any]] = {
        "tuple": lambda logits: (logits, None), "list": lambda logits: [logits], "object": Answer,
        "dict": lambda logits: {"logits": logits},
    }  # fmt: skip
    model, runs = seeded(Deep), []
    true = sightline.maps(model, image(), 1, layer="features")
    model.register_forward_hook(lambda module, inputs, output: runs.append(1) or put[kind](output))
    assert torch.equal(sightline.maps(model, image(), 1, layer="features"), true)
    assert len(runs) == 1


# Sizes and mistakes.


@pytest.mark.parametrize("size", [(5, 11), (2, 1), (1, 7), (3, 3), (40, 8)])
@pytest.mark.parametrize("net", [Pooled, Deep])
def test_images_of_any_shape(net: type[nn.Module], size: tuple[int, int]) -> None:
    model, images = seeded(net).double(), image(2, *size, dtype=torch.float64)
    found = sightline.maps(model, images, 1, layer="features")
    assert found.shape == (2, *size)
    assert_close(found, reference(model, "features", images))


def test_a_model_that_overwrites_its_image() -> None:
    """It gets a copy, so the caller's image stays as it was, however often the model runs."""

    class Normalising(Deep):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.sub_(0.5).div_(3))

    model, images = seeded(Normalising), image().requires_grad_()
    true = reference(seeded(Deep), "features", (image() - 0.5) / 3)
    for layer in ("features", None):
        assert_close(sightline.maps(model, images, 1, layer=layer), true)
    assert torch.equal(images, image())


def test_no_images_at_all() -> None:
    with pytest.raises(ModelError, match=r"float tensor \(N, C, H, W\) is expected, got torch.float32 \(0, 3, 8, 8\)"):
        sightline.maps(seeded(Pooled), torch.zeros(0, 3, 8, 8), 1, layer="features")


@pytest.mark.parametrize("given", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8), "dog.jpg", None])
def test_images_that_are_none(given: Any) -> None:
    with pytest.raises(ModelError, match="expected, got"):
        sightline.maps(seeded(Pooled), given, 1, layer="features")


def test_weights_that_are_not_numbers() -> None:
    model = seeded(Pooled)
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] = torch.nan
    for layer in ("features", None):
        with pytest.raises(ModelError, match=r"image 0, 1 aren't finite: the model's weights hold NaN or infinity"):
            sightline.maps(model, image(), 1, layer=layer)


def test_an_image_that_is_not_numbers() -> None:
    images = image(3)
    images[1, 0, 0, 0] = torch.inf
    for layer in ("features", None):
        with pytest.raises(ModelError, match=r"scores of image 1 aren't finite: the image holds NaN or infinity"):
            sightline.maps(seeded(Pooled), images, 1, layer=layer)


def test_numbers_that_overflow() -> None:
    model = seeded(Pooled)
    with torch.no_grad():
        model.conv.weight.mul_(1e25), model.head.weight.mul_(1e25)
    with pytest.raises(ModelError, match="overflow inside the model; try a wider dtype"):
        sightline.maps(model, image(), 1, layer="features")


def test_an_image_with_the_wrong_channels() -> None:
    for layer in ("features", None):
        with pytest.raises(ModelError, match=r"Pooled failed on an image of shape \(\d, 4, 8, 8\).*3 channels"):
            sightline.maps(seeded(Pooled), torch.ones(2, 4, 8, 8), 1, layer=layer)


@pytest.mark.parametrize(("raised", "caught"), [
    (RuntimeError("no way"), ModelError), (ValueError("no way"), ValueError), (KeyError("no way"), KeyError),
])  # fmt: skip
def test_a_model_that_fails(raised: Exception, caught: type[Exception]) -> None:
    """torch's own errors come as a ModelError, with their cause; others as they are. The model is as found."""
    model = seeded(lambda: Failing(raised)).train()
    state = torch.get_rng_state()
    with pytest.raises(caught, match="no way") as found:
        sightline.maps(model, image(), 1, layer="features")
    assert (found.value.__cause__ or found.value) is raised
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert not loan._loans


@pytest.mark.parametrize("targets", [[1], [1, 2, 3], [[1], [2, 3]], [9, 0], [True, False]])
def test_targets_of_a_wrong_length_or_class(targets: Any) -> None:
    """Never broadcast, cut short, or a map of zeros."""
    with pytest.raises(TargetError):
        sightline.maps(seeded(Pooled), image(), targets, layer="features")


class Averaged(nn.Module):
    """A head that averages over positions, one way or another, and may look at the map a second time."""

    def __init__(self, dims: tuple[int, ...], *, keepdim: bool, twice: bool = False, last: bool = False) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 70)
        self.dims, self.keepdim, self.twice, self.last = dims, keepdim, twice, last
        self.body = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        features = self.body(x.permute(0, 2, 3, 1) if self.last else x)
        pooled = features.mean(self.dims, keepdim=self.keepdim).flatten(1)
        scores = self.head(pooled) if pooled.shape[1] == 6 else pooled.repeat(1, 3)[:, :70]
        return scores + features.mean((1, 2, 3))[:, None] if self.twice else scores


@pytest.mark.parametrize(
    "net",
    [
        lambda: Averaged((2, 3), keepdim=False),
        lambda: Averaged((-1, -2), keepdim=True),
        lambda: Averaged((1, 2), keepdim=False, last=True),
        lambda: Averaged((2, 3), keepdim=True, twice=True),
        lambda: Averaged((1,), keepdim=False),
        lambda: Averaged((3,), keepdim=False),
    ],
)
def test_many_targets_through_a_pooling_head_equal_one_by_one(net: Any) -> None:
    model, image = net(), torch.randn(2, 3, 9, 7)
    with torch.no_grad():
        classes = model(image).shape[1]
    for method in ("grad-cam", "layer-cam"):
        together = sightline.maps(model, image, [list(range(classes))] * 2, layer="body", method=method)
        alone = torch.stack([sightline.maps(model, image, k, layer="body", method=method) for k in range(classes)], 1)
        assert_close(together, alone)
    assert alone.abs().max() > 0
