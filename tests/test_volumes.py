"""Volumes read, explained and shown: nets that look at a known block of voxels."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

from sightline.cli.explain import How
from sightline.cli.media import explain_media
from sightline.errors import LayerError, MethodError, ModelError, PictureError, TargetError
from sightline.model import wrap
from sightline.render import colour
from sightline.volumes import SCALES, Volume, explain_volume, read_volume, unit, z_score

nibabel = pytest.importorskip("nibabel", reason="nibabel isn't installed")

SIZE = (24, 20, 16)
BLOCK = (slice(15, 21), slice(4, 8), slice(8, 12))
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0, 3.0, -20], [0, 2.0, 0, 5], [0, 0, 0, 1]])  # axes to the left, up, forward


class Bright(nn.Module):
    """How much there is above 0.5 (class 1), by a convolution of the identity, averaged; and nothing (class 0)."""

    def __init__(self, channels: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv3d(channels, 1, stride, stride=stride)
        nn.init.constant_(self.layer.weight, 1 / (channels * stride**3))
        nn.init.constant_(self.layer.bias, -0.5)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        seen = self.relu(self.layer(images)).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(seen), seen], 1)


def scan(noise: float = 0.1) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(0).uniform(0, noise, SIZE).astype(np.float32)
    values[BLOCK] = 0.9
    return values


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    file = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(scan(), AFFINE), file)
    return file


def test_a_nifti_is_read_with_its_spacing_and_affine(nifti: Path) -> None:
    volume = read_volume(nifti)
    assert volume.size == SIZE
    np.testing.assert_allclose(volume.voxels[0], scan(), rtol=1e-6)
    assert volume.spacing == (2, 2, 3)
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_a_fourth_axis_is_channels_and_nan_is_nothing(tmp_path: Path) -> None:
    values = np.stack([scan(), -scan()], -1)
    values[0, 0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "two.nii")
    volume = read_volume(tmp_path / "two.nii")
    assert volume.voxels.shape == (2, *SIZE)
    assert volume.voxels[0, 0, 0, 0] == 0
    np.testing.assert_allclose(volume.voxels[1], -scan(), rtol=1e-6)


def test_an_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", scan())
    assert read_volume(tmp_path / "scan.npy").size == SIZE
    np.save(tmp_path / "two.npy", np.stack([scan()] * 2))
    volume = read_volume(tmp_path / "two.npy")
    assert volume.voxels.shape == (2, *SIZE)
    assert volume.affine is None


@pytest.mark.parametrize(("name", "data", "message"), [
    ("none.nii", None, "none.nii is no file; expected a NIfTI file"),
    ("bad.nii.gz", b"\x1f\x8b nonsense", "bad.nii.gz can't be read as a volume"),
    ("bad.nii", b"nonsense", "bad.nii can't be read as a volume"),
    ("bad.npy", b"nonsense", "bad.npy can't be read as a volume"),
])  # fmt: skip
def test_what_is_no_volume_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PictureError, match=message) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_arrays_of_other_ranks_and_infinite_voxels_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((4, 5)))
    with pytest.raises(PictureError, match=r"flat.npy holds an array \(4, 5\); expected"):
        read_volume(tmp_path / "flat.npy")
    with pytest.raises(PictureError, match=r"an array \(1, 2, 2, 2\) of float32 is no volume"):
        Volume(np.full((1, 2, 2, 2), np.inf, np.float32))


def test_the_map_is_the_block(nifti: Path) -> None:
    """Class 1 is the sum of what is above 0.5: the gradient is 1 in the block and 0 elsewhere."""
    why = explain_volume(Bright(), nifti, 1, method="saliency")
    true = np.zeros(SIZE, np.float32)
    true[BLOCK] = 1
    np.testing.assert_allclose(why.heat(), true, atol=1e-6)
    assert why.peak() == (15, 4, 8)
    assert why.box() == (15, 4, 8, 21, 8, 12)
    assert why.scores == (pytest.approx(6 * 4 * 4 * 0.4, rel=1e-5),)
    assert why.asked[0].name == "1"
    assert why.layer == "image"


def test_coarse_maps_are_trilinear_and_at_home(nifti: Path) -> None:
    why = explain_volume(Bright(stride=2), nifti, 1, layer="relu")
    assert why.maps.shape == (1, 12, 10, 8)
    assert_close(torch.from_numpy(why.heat()), interpolate(why.maps[None], SIZE, mode="trilinear")[0, 0])
    i, j, k = why.peak() or (0, 0, 0)
    assert all(side.start <= at < side.stop for at, side in zip((i, j, k), BLOCK, strict=True))
    facts = why.facts()
    assert facts["peak"] == [i, j, k]
    assert facts["peak_mm"] == pytest.approx([30 - 2 * i, -20 + 3 * k, 5 + 2 * j])
    assert facts["layer"] == "relu"
    assert facts["layer_why"] == "as asked"


def test_a_volume_can_be_resized_and_scaled_for_the_model() -> None:
    seen = []

    class Seen(Bright):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images)

    voxels = torch.from_numpy(scan())[None]
    for scale, true in (("as is", voxels), ("unit", unit(voxels)), ("z-score", z_score(voxels)), (torch.neg, -voxels)):
        explain_volume(Seen(), scan(), 1, method="saliency", scale=scale)
        assert_close(seen[-1][0], true)
    assert unit(voxels).min() == 0
    assert unit(voxels).max() == 1
    assert_close(z_score(voxels).mean(), torch.zeros(()), atol=1e-5, rtol=0)
    assert_close(z_score(voxels).std(correction=0), torch.ones(()))
    assert all(not made(torch.full((1, 2, 2, 2), 3.0)).any() for made in (unit, z_score))
    why = explain_volume(Seen(), scan(), 1, method="occlusion:window=4:stride=2", size=(12, 10, 8))
    assert_close(seen[0].shape[2:], torch.Size(SIZE))
    assert why.maps.shape == (1, 12, 10, 8)
    assert why.heat().shape == SIZE
    assert list(SCALES) == ["as is", "unit", "z-score"]


def test_several_targets_their_names_and_probabilities(nifti: Path) -> None:
    model = wrap(Bright(), labels=["dark", "bright"], name="lamp")
    why = explain_volume(model, nifti, ["bright", "not:bright"], method="input-x-gradient")
    assert [asked.name for asked in why.asked] == ["bright", "against bright"]
    assert why.scores[0] == -why.scores[1]
    np.testing.assert_allclose(why.heat(0), -why.heat(1))
    assert why.probabilities[0] == pytest.approx(float(torch.tensor([0, why.scores[0]]).softmax(0)[1]))
    assert why.facts(1)["target"]["name"] == "against bright"
    assert why.title() == "bright: input-x-gradient, lamp"
    assert explain_volume(model, nifti, layer="relu").asked[0].name == "bright"  # what it says itself


def test_saved_maps_lie_over_the_scan(nifti: Path, tmp_path: Path) -> None:
    why = explain_volume(Bright(stride=2), nifti, 1, layer="relu")
    files = why.save(tmp_path / "out")
    assert [file.name for file in files] == ["explanation.json", "maps.npy", "figure-0.png", "map-0.nii.gz"]
    back = nibabel.load(files[3])
    np.testing.assert_array_equal(back.affine, AFFINE)
    np.testing.assert_allclose(back.get_fdata(), why.heat(), rtol=1e-6)
    assert back.header.get_zooms() == (2, 2, 3)
    np.testing.assert_array_equal(np.load(files[1]), why.maps.numpy())
    (facts,) = json.loads(files[0].read_text())
    assert facts["size"] == [24, 20, 16]
    assert np.load(why.write(tmp_path / "map.npy")).shape == SIZE
    plain = explain_volume(Bright(), scan(), 1, method="saliency")
    assert plain.save(tmp_path / "plain")[-1].name == "map-0.npy"
    np.testing.assert_array_equal(nibabel.load(plain.write(tmp_path / "map.nii")).affine, np.eye(4))


def test_slices_stand_upright_and_show_the_block(nifti: Path) -> None:
    """The file's axes go left, up and forward: on the sheet they are right, up and forward."""
    why = explain_volume(Bright(), nifti, 1, layer="relu")
    heat = np.where(scan() > 0.5, 0.4, 0)
    np.testing.assert_allclose(why.heat(), heat, atol=1e-6)
    lit = colour(np.ones(1), "ember")[0].astype(int)
    (axial,) = why.slices(2, [5])  # up is the file's second axis: 4 to 8
    # to the right: 24 - 21 = 3 to 9; forward: 8 to 12, drawn from the top: 16 - 12 = 4 to 8, of 3 mm by 2
    assert axial.title == "axial, slice 5 of 20"
    assert axial.image.size == (24, 24)
    pixels = np.asarray(axial.image.resize((24, 16), Image.Resampling.BOX)).astype(int)
    near = np.abs(pixels - pixels[6, 6]).sum(2) < np.abs(pixels - pixels[0, 0]).sum(2)
    rows, columns = np.nonzero(near)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (4, 8, 3, 9)
    assert np.abs(pixels[6, 6] - lit).sum() < np.abs(pixels[0, 0] - lit).sum()
    (sagittal,) = why.slices(0, [5])
    assert sagittal.title == "sagittal, slice 5 of 24"
    pixels = np.asarray(sagittal.image).astype(int)
    assert sagittal.image.size == (24, 20)  # 16 of 3 mm and 20 of 2
    assert np.abs(pixels[20 - 6, 15] - pixels[0, 0]).sum() > 100
    (coronal,) = why.slices(1, [0])
    assert coronal.title == "coronal, slice 0 of 16"


def test_slices_of_an_array_are_as_it_has_them() -> None:
    why = explain_volume(Bright(), scan(), 1, layer="relu")
    (tile,) = why.slices(0, [17])
    assert tile.title == "axis 0, slice 17 of 24"
    pixels = np.asarray(tile.image).astype(int)
    assert pixels.shape == (20, 16, 3)
    lit = np.abs(pixels - pixels[5, 9]).sum(2) < 10
    rows, columns = np.nonzero(lit)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (4, 8, 8, 12)


def test_a_map_of_nothing_changes_no_slice() -> None:
    why = explain_volume(Bright(), np.zeros(SIZE), 1, layer="relu")
    assert why.peak() is None
    assert why.box() is None
    assert why.facts()["peak_mm"] is None
    assert not np.asarray(why.slices(1, [3])[0].image).any()
    assert why.figure().width > 900


def test_what_is_everywhere_has_no_colour(nifti: Path) -> None:
    why = explain_volume(Bright(stride=4), nifti, 1, layer="relu")
    raised = replace(why, maps=why.maps + 5)
    for one, other in zip(why.slices(2, [0, 5]), raised.slices(2, [0, 5]), strict=True):
        assert np.abs(np.asarray(one.image).astype(int) - np.asarray(other.image)).max() <= 1


def test_refusals_name_what_to_do(nifti: Path) -> None:
    with pytest.raises(ModelError, match="no way 'log' to scale voxels; choose as is, unit, z-score"):
        explain_volume(Bright(), nifti, 1, scale="log")
    with pytest.raises(MethodError, match="lime is defined for images"):
        explain_volume(Bright(), nifti, 1, method="lime")
    with pytest.raises(TargetError):
        explain_volume(Bright(), nifti, "cat")
    with pytest.raises(ModelError, match="Bright failed on an image of shape"):
        explain_volume(Bright(channels=2), nifti, 1)


def test_progress_is_told(nifti: Path) -> None:
    told: list[tuple[int, int]] = []
    explain_volume(Bright(), nifti, 1, method="smooth-grad:samples=4", progress=lambda *at: told.append(at))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_command_line_writes_slices_and_the_map(nifti: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    model = wrap(Bright(stride=2), labels=["dark", "bright"])
    (row,) = explain_media(
        model, nifti, How(["bright"], "relu", "grad-cam", 0), "as is", tmp_path / "out", console, set()
    )
    names = ["scan-bright-grad-cam-relu.png", "scan-bright-grad-cam-relu.nii.gz"]
    assert [Path(file).name for file in row["files"]] == names
    assert nibabel.load(row["files"][1]).shape == SIZE
    assert "the model saw the voxels, 24 x 20 x 16, with their values as is" in console.file.getvalue()  # type: ignore[attr-defined]
    np.save(tmp_path / "array.npy", scan())
    (row,) = explain_media(
        model, tmp_path / "array.npy", How(None, "relu", "grad-cam", 0), "as is", tmp_path / "out", console, set()
    )
    assert Path(row["files"][1]).name == "array-bright-grad-cam-relu.npy"


def test_volumes_of_one_name_are_written_beside_each_other(nifti: Path, tmp_path: Path) -> None:
    console, taken = Console(file=io.StringIO()), set[str]()
    model = wrap(Bright(stride=2), labels=["dark", "bright"])
    how = How(["bright"], "relu", "grad-cam", 0)
    rows = [explain_media(model, nifti, how, "as is", tmp_path / "out", console, taken)[0] for _ in range(2)]
    assert len({file for row in rows for file in row["files"]}) == 4


def test_a_volume_is_asked_about_classes_at_one_layer(nifti: Path) -> None:
    with pytest.raises(ModelError, match="of a volume classes are asked, and Bright gives regions; give a callable"):
        explain_volume(wrap(Bright(), task="regions"), nifti, "1")
    with pytest.raises(LayerError, match="explain_volume takes one layer, got a list"):
        explain_volume(Bright(), nifti, 1, layer=["relu", "relu"])  # type: ignore[arg-type]


def test_labels_that_are_not_the_models_are_refused(nifti: Path) -> None:
    with pytest.raises(ModelError, match="Bright has 2 classes and 3 labels; give it its own"):
        explain_volume(wrap(Bright(), labels=["a", "b", "c"]), nifti, 1, layer="relu")
