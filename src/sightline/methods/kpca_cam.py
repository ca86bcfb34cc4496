"""KPCA-CAM: Eigen-CAM along a curve, by kernel PCA of the activations.

Karmani et al., *KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA*,
2024, arXiv 2410.00267. As in pytorch-grad-cam, where the paper's code is, each channel's mean is
taken off first and the kernel is a sigmoid, tanh(gamma x.y + 1). The sign, which a component leaves
open, is the one that makes the cell furthest from 0 positive. The kernel holds a number for every
pair of cells: 80 MB for a grid of 56 x 56, and 16 times that for 112 x 112.
"""

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.types import Activations, Maps

KERNELS = ("sigmoid", "rbf", "poly", "cosine", "linear")


def kpca_cam(activations: Activations, *, kernel: str = "sigmoid", gamma: float | None = None) -> Maps:
    """Each cell's place on the first kernel principal component of the cells (h w, C), signed; gamma is 1/C unless set.

    0 everywhere if, but for rounding, the kernel can't tell the cells apart.
    """
    if kernel not in KERNELS:
        raise MethodError(f"kpca-cam has no kernel {kernel!r}; its kernels: {', '.join(KERNELS)}")
    cells = activations.flatten(-2).transpose(-1, -2).double().cpu()
    centred = (cells - cells.mean(-2, keepdim=True)).reshape(-1, *cells.shape[-2:])
    places = torch.stack([_first_component(each, kernel, gamma) for each in centred])
    return places.view(*activations.shape[:-3], *activations.shape[-2:]).to(activations)


def _first_component(cells: Tensor, kernel: str, gamma: float | None) -> Tensor:
    """Cells (n, C) -> their places (n,) on the first component."""
    from sklearn.decomposition import KernelPCA  # slow to import, so where it is needed
    from sklearn.metrics.pairwise import pairwise_kernels

    alike = pairwise_kernels(cells.cpu().numpy(), metric=kernel, filter_params=True, gamma=gamma)
    rounding = len(cells) * torch.finfo(torch.float64).eps * abs(alike).max()
    if alike.max() - alike.min() <= rounding:
        return cells.new_zeros(len(cells))
    found = KernelPCA(1, kernel="precomputed", random_state=0).fit_transform(alike)
    return torch.from_numpy(found)[:, 0].to(cells)
