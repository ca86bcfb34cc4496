"""Volumes: a scan's voxels, what a model saw in them, and slices of both.

A volume has the axes of its file: maps come back in the same voxels, and are saved with the same affine, so that any
viewer lays them over the scan. Only for slices on a sheet is it turned: with an affine, patients stand upright and
face away from you (their left is your left, the neurological convention); without, axes are as the array has them.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from sightline.ask import ask, is_list
from sightline.asking import Progress
from sightline.errors import LayerError, ModelError, PictureError, first_line
from sightline.explainer import layers_of, of_all, of_one, probabilities_of, shares_of
from sightline.explanation import is_fine
from sightline.layers import LayerLike
from sightline.methods import method as method_of
from sightline.methods.grids import resized
from sightline.model import Model, Task, wrap
from sightline.origin import Origin, Several
from sightline.render import EVIDENCE, SIGNED, Tile, overlay, sheet
from sightline.targets import TargetLike
from sightline.types import Method

Voxels = NDArray[np.floating]
Scale = Callable[[Tensor], Tensor]
"""Voxels (C, D, H, W) -> what the model takes, of the same shape."""

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".npy")
PLANES = ("sagittal", "coronal", "axial")
SLICES = 6  # of one axis, on a sheet
WINDOW = (1, 99)  # percentiles of the voxels that are black and white
FRACTION = 0.15  # of the maximum, where a box's edge is
FINE_SHARE = 99  # percentile of a fine map with the last colour

_EXPECTED = "a NIfTI file (.nii, .nii.gz) or an array (D, H, W) or (C, D, H, W) in a .npy file"


@dataclass(frozen=True)
class Volume:
    """Voxels (C, D, H, W), float32, in the file's own order, and how large one is, in mm where that is known.

    `affine` (4, 4) leads from a voxel's indices to millimetres to the right, to the front and up, where it is known.
    """

    voxels: Voxels = field(repr=False)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    path: str | None = None

    def __post_init__(self) -> None:
        if self.voxels.ndim != 4 or not self.voxels.size or not np.isfinite(self.voxels).all():
            raise PictureError(
                f"an array {self.voxels.shape} of {self.voxels.dtype} is no volume; expected finite voxels (C, D, H, W)"
            )

    @property
    def size(self) -> tuple[int, int, int]:
        """How many voxels there are along each axis."""
        depth, height, width = self.voxels.shape[1:]
        return depth, height, width


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """A NIfTI file, its fourth axis as channels, or an array in a .npy file. NaN, outside the scan, is read as 0.

    Raises PictureError, in one line, for what can't be read, and ModelError without the extra `medical`.
    """
    path = Path(path)
    if not path.is_file():
        raise PictureError(f"{path} is no file; expected {_EXPECTED}; check the path")
    nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    affine = None
    spacing = (1.0, 1.0, 1.0)
    try:
        if nifti:
            file = _nibabel().load(path)
            values = np.asarray(file.dataobj, dtype=np.float32)
            affine = np.asarray(file.affine, dtype=np.float64)
            values = np.moveaxis(values, -1, 0) if values.ndim == 4 else values[None]
            across, down, deep = (float(size) for size in file.header.get_zooms()[:3])
            spacing = (across, down, deep)
        else:
            values = np.load(path, allow_pickle=False).astype(np.float32)
            values = values[None] if values.ndim == 3 else values
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # nibabel raises many kinds, of its own and of what reads its bytes
        raise PictureError(
            f"{path} can't be read as a volume ({first_line(error)}); expected {_EXPECTED}; copy or download it again"
        ) from error
    if values.ndim != 4:
        raise PictureError(f"{path} holds an array {values.shape}; expected {_EXPECTED}")
    return Volume(np.nan_to_num(values, posinf=0.0, neginf=0.0), spacing, affine, str(path))


def as_is(voxels: Tensor) -> Tensor:
    """The voxels' own values."""
    return voxels


def unit(voxels: Tensor) -> Tensor:
    """Each channel from 0 to 1; an even one is 0."""
    low, high = voxels.amin((1, 2, 3), keepdim=True), voxels.amax((1, 2, 3), keepdim=True)
    return (voxels - low) / torch.where(high > low, high - low, 1)


def z_score(voxels: Tensor) -> Tensor:
    """Each channel less its mean, in standard deviations; an even one is 0."""
    spread = voxels.std((1, 2, 3), correction=0, keepdim=True)
    return (voxels - voxels.mean((1, 2, 3), keepdim=True)) / torch.where(spread > 0, spread, 1)


SCALES: dict[str, Scale] = {"as is": as_is, "unit": unit, "z-score": z_score}


@dataclass(frozen=True, kw_only=True)
class VolumeExplanation(Several):
    """For this volume, this model and these K targets, at this layer, by this method, the maps are ...

    `maps` (K, d, h, w) are raw, at the layer's resolution; `scores` (K,) are what they explain, `probabilities`
    the classes'.
    """

    volume: Volume
    maps: Tensor = field(repr=False)
    scores: tuple[float, ...]

    @cached_property
    def _heats(self) -> Voxels:
        return np.asarray(resized(self.maps[None].float(), self.volume.size)[0].numpy())

    def heat(self, target: int = 0) -> Voxels:
        """A target's map in the volume's voxels (D, H, W), trilinear; the map's cells tile the volume evenly."""
        return np.asarray(self._heats[target])

    def peak(self, target: int = 0) -> tuple[int, int, int] | None:
        """The voxel where the map is highest, the first of equals; None where it is nowhere above zero."""
        heat = self.heat(target)
        index = int(heat.argmax())
        i, j, k = (int(at) for at in np.unravel_index(index, heat.shape))
        return (i, j, k) if heat.flat[index] > 0 else None

    def box(self, target: int = 0, fraction: float = FRACTION) -> tuple[int, ...] | None:
        """(i0, j0, k0, i1, j1, k1), ends exclusive, around the largest connected part above a share of the maximum."""
        heat = self.heat(target)
        if not heat.max() > 0:
            return None
        labels, _ = ndimage.label((heat >= fraction * heat.max()) & (heat > 0), structure=np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        inside = np.argwhere(labels == sizes.argmax())
        return (*inside.min(0).tolist(), *(inside.max(0) + 1).tolist())

    def slices(self, axis: int, at: Sequence[int], target: int = 0) -> list[Tile]:
        """Slices across an axis of the volume as shown (see the module), with the map laid over them."""
        return [self._slice(axis, place, target) for place in at]

    def figure(self, target: int = 0, *, count: int = SLICES) -> Image.Image:
        """A sheet: the three planes through the peak, then slices of the last axis, spread evenly over the volume."""
        heat = self._shown(target)[1]
        peak = np.unravel_index(int(heat.argmax()), heat.shape) if heat.max() > 0 else [s // 2 for s in heat.shape]
        tiles = [self._slice(axis, int(peak[axis]), target) for axis in (2, 1, 0)]
        places = dict.fromkeys((2 * part + 1) * heat.shape[2] // (2 * count) for part in range(count))
        tiles += self.slices(2, list(places), target)
        return sheet(tiles, columns=3, title=self.title(target), bar=SIGNED if self.signed else EVIDENCE)

    def facts(self, target: int = 0) -> dict[str, Any]:
        """One target's explanation as JSON values; peak and box in voxels, in the file's order."""
        peak, box, affine = self.peak(target), self.box(target), self.volume.affine
        where = None if peak is None or affine is None else (affine @ [*peak, 1])[:3].tolist()
        return {
            "picture": self.volume.path,
            "score": self.scores[target],
            **self.told(target),
            "peak": None if peak is None else list(peak),
            "peak_mm": where,
            "box": None if box is None else list(box),
            "size": list(self.volume.size),
            "spacing": list(self.volume.spacing),
        }

    def write(self, file: str | os.PathLike[str], target: int = 0) -> Path:
        """The map in the volume's voxels: as NIfTI with the volume's affine, or as an array where it ends in .npy."""
        file = Path(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix.lower() == ".npy":
            np.save(file, self.heat(target))
            return file
        nibabel = _nibabel()
        affine = np.diag([*self.volume.spacing, 1.0]) if self.volume.affine is None else self.volume.affine
        image = nibabel.Nifti1Image(self.heat(target), affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, file)
        return file

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `explanation.json`, `maps.npy` (raw), and a sheet and the map in voxels for each target."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "explanation.json", folder / "maps.npy"]
        files[0].write_text(json.dumps([self.facts(k) for k in range(len(self))], indent=2), encoding="utf-8")
        np.save(files[1], self.maps.numpy())
        for k in range(len(self)):
            files.append(folder / f"figure-{k}.png")
            self.figure(k).save(files[-1], compress_level=1)
            files.append(self.write(folder / (f"map-{k}.npy" if self.volume.affine is None else f"map-{k}.nii.gz"), k))
        return files

    def _shown(self, target: int) -> tuple[Voxels, Voxels, tuple[float, ...]]:
        """The first channel, a target's map, and the spacing, along axes to the right, to the front and up."""
        arrays, spacing = (self.volume.voxels[0], self.heat(target)), self.volume.spacing
        if self.volume.affine is None:
            return *arrays, spacing
        nibabel = _nibabel()
        turn = nibabel.io_orientation(self.volume.affine)
        order = np.argsort(turn[:, 0])  # turn says, for each of the file's axes, which of these it is
        volume, heat = (np.asarray(nibabel.apply_orientation(array, turn)) for array in arrays)
        return volume, heat, tuple(spacing[int(axis)] for axis in order)

    @cached_property
    def _window(self) -> tuple[float, float]:
        low, high = np.percentile(self.volume.voxels[0], WINDOW)
        return float(low), float(high) if high > low else float(low) + 1

    def _slice(self, axis: int, at: int, target: int) -> Tile:
        volume, heat, spacing = self._shown(target)
        low, high = self._window
        grey, lit = (np.asarray(array.take(at, axis)) for array in (volume, heat))
        grey = np.clip((grey - low) / (high - low), 0, 1)
        across, down = [size for other, size in enumerate(spacing) if other != axis][::-1]
        title = f"axis {axis}"
        if self.volume.affine is not None:
            grey, lit, (across, down), title = grey.T[::-1], lit.T[::-1], (down, across), PLANES[axis]
        picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8)).convert("RGB")
        lowest, last, fine = self._scale(target)
        laid = overlay(picture, lit - lowest, signed=self.signed, peak=last, fine=fine)
        least = min(across, down)
        square = (max(1, round(laid.width * across / least)), max(1, round(laid.height * down / least)))
        if square != laid.size:
            laid = laid.resize(square, Image.Resampling.BICUBIC)
        return Tile(laid, f"{title}, slice {at} of {volume.shape[axis]}")

    def _scale(self, target: int) -> tuple[float, float | None, bool]:
        """Over the whole volume: the value without colour, the one with the last (None for none), and whether fine."""
        heat = self.heat(target)
        lowest = 0.0 if self.signed else max(float(heat.min()), 0.0)
        fine = is_fine(self.maps[target], self.volume.size[2])
        size = np.abs(heat) if self.signed else np.clip(heat - lowest, 0, None)
        last = float(np.percentile(size, FINE_SHARE)) if fine else 0.0
        return lowest, last or float(size.max()) or None, fine


def explain_volume(
    model: Model | nn.Module,
    volume: Volume | NDArray[Any] | str | os.PathLike[str],
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    scale: str | Scale = "as is",
    size: tuple[int, int, int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> VolumeExplanation:
    """Explain a volume: a file, an array (D, H, W) or (C, D, H, W), or a Volume.

    The model takes images (N, C, D, H, W): all voxels in the file's order, resized to `size` where that is given
    (trilinear), with values `as is`, from 0 to 1 (`unit`), as `z-score`, or as a function of the voxels
    (C, D, H, W) makes them. A list of targets means several. Raises PictureError, TargetError, LayerError,
    MethodError and ModelError.
    """
    model = model if isinstance(model, Model) else wrap(model)
    read = volume if isinstance(volume, Volume) else _made(volume)
    if isinstance(scale, str) and scale not in SCALES:
        raise ModelError(f"no way {scale!r} to scale voxels; choose {', '.join(SCALES)}, or give a function")
    voxels = (SCALES[scale] if isinstance(scale, str) else scale)(torch.from_numpy(read.voxels))
    image = voxels[None].to(model.like)
    if size is not None:
        image = resized(image, size)
    if model.task is not Task.CLASSES and not callable(target):
        raise ModelError(
            f"of a volume classes are asked, and {model.name} gives {model.task}; give a callable that reads its output"
        )
    if is_list(layer):
        raise LayerError("explain_volume takes one layer, got a list; ask about each by itself")
    rule, asking = method_of(method), of_all(of_one(target), model, 1)
    layers, why = layers_of(model, image, layer) if rule.layered else ([], "")
    result = ask(model.module, image, asking, layers, [rule], seed=seed, progress=lambda _: progress)
    found, asked = result.found[0], tuple(result.asked[0])
    shares = shares_of(model, result)
    return VolumeExplanation(
        volume=read,
        maps=found.maps[0].float().cpu(),
        asked=asked,
        scores=tuple(result.scores[0].tolist()),
        probabilities=probabilities_of(shares, asked, 0),
        **Origin.of(model, found, why, seed).origin,
    )


def _made(given: Any) -> Volume:
    if isinstance(given, np.ndarray):
        values = np.asarray(given, dtype=np.float32)
        return Volume(values[None] if values.ndim == 3 else values)
    return read_volume(given)


def _nibabel() -> Any:
    """nibabel. Raises ModelError where it isn't installed."""
    try:
        import nibabel
    except ImportError as error:
        raise ModelError(f"NIfTI files need nibabel ({first_line(error)}); pip install 'sightline[medical]'") from error
    return nibabel
