"""TorchScript files and plain functions: what asks about the image answers as before, what asks of layers refuses."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import Deep, image, relative_error, seeded
from safetensors.torch import save_file
from torch import nn

import sightline
from sightline.errors import CutOff, LayerError, MethodError, ModelError, NoSpace

OF_THE_IMAGE = ("occlusion:window=4:stride=2", "rise:masks=32", "muting", "saliency", "integrated-gradients")


def scripted(net: nn.Module) -> nn.Module:
    return torch.jit.script(net)


def traced(net: nn.Module) -> nn.Module:
    return torch.jit.trace(net, image())


def frozen(net: nn.Module) -> nn.Module:
    return torch.jit.freeze(torch.jit.script(net))


@pytest.fixture(params=[scripted, traced, frozen])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> sightline.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against writing such files
        request.param(seeded(Deep)).save(tmp_path / "net.pt")
    return sightline.load(str(tmp_path / "net.pt"), device="cpu")


@pytest.mark.filterwarnings("ignore::sightline.methods.integrated_gradients.CompletenessWarning")
def test_methods_of_the_image_answer_as_before(loaded: sightline.Model) -> None:
    net, every = seeded(Deep), [[0, 1, 2]] * 2
    for method in OF_THE_IMAGE:
        found, true = (sightline.maps(each, image(), every, method=method) for each in (loaded.module, net))
        assert relative_error(found, true) < 1e-4, method


def test_what_needs_a_layer_refuses_and_names_what_does_not(loaded: sightline.Model) -> None:
    for method in ("grad-cam", "score-cam", "excitation-backprop", "full-grad"):
        with pytest.raises(LayerError, match="occlusion, rise|no layers|biases") as caught:
            sightline.maps(loaded.module, image(), 1, method=method)
        assert "\n" not in str(caught.value)


def test_flags_and_random_state_are_left_as_found_and_it_can_be_copied(loaded: sightline.Model) -> None:
    loaded.module.module.train()
    flags = [getattr(module, "training", None) for module in loaded.module.module.modules()]
    state = torch.get_rng_state()
    sightline.maps(loaded.module, image(), 1, method="saliency")
    assert [getattr(module, "training", None) for module in loaded.module.module.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(copy.deepcopy(loaded.module).eval()(image()), loaded.module.eval()(image()))
    assert len(loaded.weights_hash) == 16


def test_a_script_that_was_not_saved_can_be_asked_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = scripted(seeded(Deep))
    true = sightline.maps(seeded(Deep), image(), 1, method="saliency")
    assert relative_error(sightline.maps(script, image(), 1, method="saliency"), true) < 1e-5
    with pytest.raises(LayerError, match=r"layers of a TorchScript model can't be read.*\.pt2"):
        sightline.maps(script, image(), 1, layer="features")


def test_a_relu_hidden_in_a_compiled_graph_has_no_guided_rule() -> None:
    class Long(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 2).relu().mul(3).sigmoid().relu().mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(Long().eval())
    for _ in range(3):  # the first runs are recorded, later ones compiled
        script(image().requires_grad_())
    with pytest.raises(MethodError, match="DifferentiableGraph"):
        sightline.maps(script, image(), 1, method="guided-backprop")


def test_weights_alone_say_what_to_do(tmp_path: Path) -> None:
    state = seeded(Deep).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    (tmp_path / "b.pt").write_bytes(b"nothing")
    for name in ("a.pth", "a.safetensors", "b.pt"):
        with pytest.raises(ModelError, match=r"holds no TorchScript.*--model resnet50 --weights"):
            sightline.load(str(tmp_path / name))


def test_a_failing_script_gives_its_last_line(loaded: sightline.Model) -> None:
    with pytest.raises(ModelError, match=r"failed on an image of \(1, 4, 8, 8\): .*channels") as caught:
        sightline.maps(loaded.module, torch.randn(1, 4, 8, 8), 1, method="saliency")
    assert "\n" not in str(caught.value)


def answers(net: nn.Module) -> Callable[[torch.Tensor], np.ndarray]:
    return lambda images: net(images).detach().numpy()


def test_any_function_can_be_asked_without_gradients() -> None:
    net = seeded(Deep)
    model = sightline.wrap(answers(net), name="session")
    for method in ("occlusion:window=4:stride=2", "rise:masks=32"):
        true = sightline.maps(net, image(), 1, method=method)
        assert relative_error(sightline.maps(model.module, image(), 1, method=method), true) < 1e-5
    for method in ("saliency", "integrated-gradients", "full-grad", "lrp-epsilon"):
        with pytest.raises(CutOff, match="needs none, such as occlusion"):
            sightline.maps(model.module, image(), 1, method=method)
    with pytest.raises(NoSpace, match="no layers that can be read.*occlusion"):
        sightline.maps(model.module, image(), 1)


def test_a_class_is_no_function() -> None:
    with pytest.raises(ModelError, match=r"torch.nn.Module is expected, got type"):
        sightline.wrap(Deep)
