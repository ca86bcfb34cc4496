"""LIME against the regression written out, a score that is linear in the superpixels, and captum called directly."""

import random
import sys
from typing import Any

import numpy as np
import pytest
import torch
from nets import Deep, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method
from sightline.methods.superpixels import drawing, superpixels

pytest.importorskip("captum", reason="the extra superpixels isn't installed")
pytest.importorskip("skimage", reason="the extra superpixels isn't installed")


def lime(**options: Any) -> Any:
    return method("lime").set(**{"segments": 6, "samples": 60, **options})


def patchwork(height: int = 16, width: int = 16) -> Tensor:
    """Four even quadrants of colours that nobody confuses, (1, 3, H, W)."""
    colours = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2], [2, 2, -1]]).double()
    rows, columns = torch.arange(height) * 2 // height, torch.arange(width) * 2 // width
    return colours[rows[:, None] * 2 + columns].movedim(-1, 0)[None]


def torch_seed(seed: int = 0) -> int:
    """What captum's draws start from."""
    return int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(seed)))


class Linear(nn.Module):
    """The sum of weights times pixels; the second class is the first, tenfold and negated."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        score = (self.weights * images).sum((1, 2, 3))
        return torch.stack([score, -10 * score], 1) + 5.3


def test_superpixels_are_the_patches_whatever_the_normalisation() -> None:
    """But for the pixels at the borders between them, which the blur mixes."""
    labels = superpixels(patchwork(32, 32)[0], 4)
    cells = labels.view(2, 16, 2, 16)[:, 2:-2, :, 2:-2]
    assert sorted(cells[:, 0, :, 0].flatten().tolist()) == [0, 1, 2, 3]
    assert (cells == cells[:, :1, :, :1]).all()
    assert torch.equal(superpixels(7 * patchwork(32, 32)[0] - 100, 4), labels)


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_recovers_the_weights_of_a_score_linear_in_the_superpixels(name: str) -> None:
    """Each superpixel shows the sum of w x over it."""
    weights, picture = image(1, 16, 16, dtype=torch.float64)[0], patchwork()
    options = {"penalty": 0} if name == "lime" else {}
    few, labels = method(name).set(segments=4, samples=40, **options), superpixels(picture[0], 4)
    found = sightline.maps(Linear(weights), picture, [[0, 1]], method=few)
    shares = torch.stack([(weights * picture[0]).sum(0)[labels == cell].sum() for cell in range(4)])[labels]
    assert_close(found[0, 0], shares, rtol=1e-4, atol=1e-4 * float(shares.abs().max()))
    assert_close(found[0, 1], -10 * found[0, 0], rtol=1e-4, atol=1e-4 * float(shares.abs().max()))


@torch.no_grad()
def test_equals_the_regression_written_out() -> None:
    """Least squares in double precision of the scores on what is shown, each sample with its weight."""
    model, picture, target = seeded(Deep).double(), image(1, 14, 15, seed=2, dtype=torch.float64), 2
    found = sightline.maps(model, picture, target, method=lime(penalty=0, samples=100, fill="mean"))[0]
    labels = superpixels(picture[0], 6)
    blank = picture.mean((2, 3), keepdim=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(torch_seed())
        shown = [torch.bernoulli(torch.full((1, int(labels.max()) + 1), 0.5))[0].double() for _ in range(100)]
    rows, scores, weights = [], [], []
    for row in shown:
        seen = torch.where(row[labels].bool(), picture, blank)
        cosine = (seen * picture).sum() / (seen.norm() * picture.norm())
        rows.append(torch.cat([row, torch.ones(1).double()]))
        scores.append(model(seen)[0, target])
        weights.append(torch.exp(-((1 - cosine) ** 2) / 2))
    scale = torch.stack(weights).sqrt()[:, None]
    solved = torch.linalg.lstsq(scale * torch.stack(rows), scale * torch.stack(scores)[:, None]).solution[:-1, 0]
    assert len(solved) > 3
    assert_close(found, solved[labels], rtol=1e-4, atol=1e-4 * float(solved.abs().max()))


def test_equals_captum() -> None:
    """The lasso's penalty is a share of the standard deviation of the scores, whose size then doesn't matter."""
    from captum._utils.models.linear_model import SkLearnLasso
    from captum.attr import Lime

    model, pictures, targets = seeded(Deep).double(), image(2, 14, 15, seed=2, dtype=torch.float64), [2, 1]
    found = sightline.maps(model, pictures, targets, method=lime(penalty=0.1))
    for n, target in enumerate(targets):
        picture = pictures[n : n + 1]
        labels = superpixels(picture[0], 6)[None, None]
        scores: list[Tensor] = []

        def scored(images: Tensor, target: int = target, scores: list[Tensor] = scores) -> Tensor:
            scores.append(model(images)[:, target])
            return 1000 * scores[-1]

        for penalty in (1.0, 0.1):  # the first only to see the scores
            spread = 1000 * float(torch.stack(scores).std(correction=0)) if scores else 1.0
            with torch.random.fork_rng([]):
                torch.manual_seed(torch_seed())
                captum = Lime(scored, interpretable_model=SkLearnLasso(alpha=penalty * spread))
                theirs = captum.attribute(picture, feature_mask=labels, n_samples=60)[0, 0] / 1000
        assert 0 < int((theirs == 0).sum()) < theirs.numel()  # some are penalised away
        assert_close(found[n], theirs.double(), rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_score_that_never_changes_has_no_weights() -> None:
    for name in ("lime", "kernel-shap"):
        constant = Linear(torch.zeros(3, 16, 16).double())
        found = sightline.maps(constant, patchwork(), 0, method=method(name).set(segments=4, samples=30))
        assert torch.equal(found, torch.zeros(1, 16, 16).double())


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_repeats_bit_for_bit_and_leaves_every_global_draw_alone(name: str) -> None:
    model, pictures = seeded(Deep).double(), image(2, 14, 15, seed=2, dtype=torch.float64)
    few = method(name).set(segments=6, samples=30)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    first, again, other = (sightline.maps(model, pictures, 1, method=few, seed=seed) for seed in (1, 1, 2))
    after = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_drawing_globally_leaves_no_trace_even_of_an_error() -> None:
    def state() -> tuple[bytes, str]:
        return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state())  # noqa: NPY002

    before = state()
    with drawing(3):
        first = torch.rand(3)
    with pytest.raises(KeyError), drawing(3):  # noqa: PT012
        assert torch.equal(torch.rand(3), first)
        np.random.rand(3)  # noqa: NPY002
        raise KeyError
    assert state() == before


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_a_batch_is_its_images_one_by_one_in_as_many_passes(name: str) -> None:
    """Each image has its own superpixels; all images and targets share their passes."""
    model, pictures = seeded(Deep).double(), image(2, 14, 15, seed=2, dtype=torch.float64)
    few, seen = method(name).set(segments=6, samples=40), [0]
    model.register_forward_pre_hook(lambda _, given: seen.__setitem__(0, seen[0] + len(given[0])))
    found = sightline.maps(model, pictures, [[0, 1, 2], [3, 2, 1]], method=few)
    assert seen[0] == 2 * 41
    for n, targets in enumerate([[0, 1, 2], [3, 2, 1]]):
        alone = sightline.maps(model, pictures[n : n + 1], [targets], method=few)[0]
        assert_close(found[n], alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
@pytest.mark.parametrize("module", ["captum.attr", "skimage.segmentation"])
def test_names_the_extra_that_is_missing(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MethodError, match=r"need captum and scikit-image.*pip install sightline\[superpixels\]"):
        sightline.maps(seeded(Deep).double(), patchwork(), 1, method=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 1}, "2 superpixels or more"), ({"samples": 1}, "2 superpixels or more"),
        ({"penalty": -1}, "penalty of 0 or more"), ({"fill": "pink"}, "'zero', 'mean' or 'blur'"),
    ],
)  # fmt: skip
def test_refuses_what_cannot_be_fitted(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        sightline.maps(seeded(Deep).double(), patchwork(), 1, method=lime(**options))


def test_refuses_an_image_of_one_superpixel() -> None:
    with pytest.raises(MethodError, match="SLIC finds one superpixel in an image of 9 x 9 pixels"):
        sightline.maps(Linear(torch.ones(3, 9, 9)), torch.ones(1, 3, 9, 9), 0, method=lime(segments=2))
