"""Signals, volumes and clips: what every row says of images (N, C, L) and (N, C, D, H, W)."""

from typing import Any

import pytest
import torch
from nets import seeded
from rows import quick
from torch import Tensor, nn
from torch.nn.functional import conv3d, interpolate
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.layers import Order, layout
from sightline.methods import CONTROLS, method
from sightline.methods.compose import over_flips, over_layers, over_noise, product
from sightline.methods.grids import resized
from sightline.methods.occlusion import blurred
from sightline.types import Method, Needs

ROWS = [quick(row) for row in (*sightline.METHODS, *CONTROLS)]
ANY_RANK = [row for row in ROWS if not row.planar]
SIZES: dict[int, tuple[int, ...]] = {1: (14,), 2: (12, 10), 3: (6, 8, 10)}
OTHER = (1, 3)  # ranks than an image's
# In a direction more RISE draws a number more, muting has more cells, and Recipro-CAM's Gaussian is wider; and
# patches of two pixels don't fit in one row.
ONE_MORE = [
    row for row in ANY_RANK if row.name not in ("rise", "muting", "recipro-cam") and row.needs is not Needs.ATTENTION
]

pytestmark = pytest.mark.filterwarnings("ignore::sightline.methods.integrated_gradients.CompletenessWarning")


class Net(nn.Module):
    """Two resolutions, batch norm, ReLUs and average pooling, in any number of dimensions.

    A `flat` one has one dimension more, along which it does nothing.
    """

    def __init__(self, rank: int, channels: int = 5, *, flat: bool = False) -> None:
        super().__init__()
        dims, more = rank + flat, (1,) * flat
        conv, norm = getattr(nn, f"Conv{dims}d"), getattr(nn, f"BatchNorm{dims}d")
        pool, mean = getattr(nn, f"MaxPool{dims}d"), getattr(nn, f"AdaptiveAvgPool{dims}d")
        three, two, one = (*more, *(3,) * rank), (*more, *(2,) * rank), (*(0,) * flat, *(1,) * rank)
        self.early = nn.Sequential(conv(2, channels, three, padding=one), norm(channels), nn.ReLU())
        self.late = nn.Sequential(pool(two), conv(channels, channels, three, padding=one), nn.ReLU())
        self.pool, self.head = mean(1), nn.Linear(channels, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.late(self.early(images))).flatten(1))


class Tokens(nn.Module):
    """A transformer of two blocks over patches of two pixels in each direction, and a mean over tokens."""

    def __init__(self, rank: int, width: int = 6) -> None:
        super().__init__()
        self.patches = getattr(nn, f"Conv{rank}d")(2, width, 2, stride=2)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(width, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


def asked(row: Method, rank: int) -> tuple[nn.Module, Tensor, str]:
    """A net on which the row is defined, with three images and the layer."""
    net, layer = (Tokens, "blocks.0") if row.needs is Needs.ATTENTION else (Net, "late")
    images = torch.randn(3, 2, *SIZES[rank], generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
    return seeded(lambda: net(rank)).double(), images, layer


@pytest.mark.parametrize("rank", OTHER)
@pytest.mark.parametrize("row", ANY_RANK, ids=[row.name for row in ANY_RANK])
def test_maps_have_the_images_rank_and_a_batch_is_its_images_one_by_one(row: Method, rank: int) -> None:
    model, images, layer = asked(row, rank)
    row = row.set(cells=2) if row.name == "muting" else row
    targets = [[3, 1], [0, 1], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method=row)
    assert found.shape[:2] == (3, 2)
    assert found.ndim == images.ndim
    assert found.isfinite().all()
    assert found.abs().max() > 0
    alone = torch.cat(
        [sightline.maps(model, images[i : i + 1], [targets[i]], layer=layer, method=row) for i in range(3)]
    )
    assert_close(found, alone, rtol=1e-5, atol=1e-6 * float(found.abs().max()))
    if not row.layered and row.needs is not Needs.ATTENTION and row.name != "muting":
        assert found.shape[2:] == images.shape[2:]


@pytest.mark.parametrize("rank", OTHER)
@pytest.mark.parametrize("row", [row for row in ROWS if row.planar], ids=lambda row: row.name)
def test_rows_of_planes_refuse_by_name(row: Method, rank: int) -> None:
    model, images, layer = asked(row, rank)
    with pytest.raises(MethodError, match=rf"{row.name} is defined for images \(N, C, H, W\), got \(3, 2, "):
        sightline.maps(model, images, 1, layer=layer, method=row)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("row", ONE_MORE, ids=[row.name for row in ONE_MORE])
def test_a_signal_is_an_image_of_one_row_and_an_image_a_volume_of_one_layer(row: Method, rank: int) -> None:
    plain, images, layer = asked(row, rank)
    flat = Net(rank, flat=True).double().eval()
    flat.load_state_dict({k: v[:, :, None] if v.ndim > 2 else v for k, v in plain.state_dict().items()})
    wider = {"window": (1, *(3,) * rank), "stride": (1, *(2,) * rank)} if row.name == "occlusion" else {}
    targets = [[3, 1], [0, 1], [2, 1]]
    found = sightline.maps(plain, images, targets, layer=layer, method=row)
    true = sightline.maps(flat, images[:, :, None], targets, layer=layer, method=row.set(**wider))
    assert_close(found, true[:, :, 0], rtol=1e-6, atol=1e-9)


class Block(nn.Module):
    """The mean of the first channel over a block of a volume, and of the second over the whole of it."""

    where = (slice(1, 3), slice(2, 6), slice(4, 7))

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        images = self.layer(images)
        block = images[(slice(None), 0, *self.where)].flatten(1).mean(1)
        return torch.stack([block, images[:, 1].flatten(1).mean(1)], 1)


def inside() -> Tensor:
    mask = torch.zeros(6, 8, 10, dtype=torch.float64)
    mask[Block.where] = 1
    return mask


def test_gradients_of_a_block_are_the_block() -> None:
    images = torch.rand(2, 2, 6, 8, 10, dtype=torch.float64)
    share = inside() / inside().sum()
    assert_close(sightline.maps(Block(), images, 0, method="saliency"), share.expand(2, -1, -1, -1))
    for name in ("input-x-gradient", "integrated-gradients"):
        found = sightline.maps(Block(), images, 0, method=name)
        assert_close(found, share * images[:, 0])
        assert_close(found.flatten(1).sum(1), Block()(images)[:, 0])


def test_occlusion_of_a_volume_is_the_loops() -> None:
    images = torch.rand(1, 2, 6, 8, 10, dtype=torch.float64)
    window, stride = (2, 4, 5), (2, 2, 5)
    total, covers = torch.zeros(6, 8, 10, dtype=torch.float64), torch.zeros(6, 8, 10)
    for z in (0, 2, 4):
        for y in (0, 2, 4):
            for x in (0, 5):
                box = (slice(z, z + 2), slice(y, y + 4), slice(x, x + 5))
                covered = images.clone()
                covered[(..., *box)] = 0
                total[box] += (Block()(images) - Block()(covered))[0, 0]
                covers[box] += 1
    found = sightline.maps(Block(), images, 0, method=method("occlusion").set(window=window, stride=stride))
    assert_close(found[0], (total / covers).to(found))


@pytest.mark.parametrize("window", [(2, 2), 2.5, (2, 2, "2")])
def test_windows_that_do_not_fit_the_rank_are_refused(window: Any) -> None:
    row = method("occlusion").set(window=window, stride=1)
    with pytest.raises(MethodError, match=r"window=.* doesn't fit 6 x 8 x 10 pixels: give a whole number"):
        sightline.maps(Block(), torch.rand(1, 2, 6, 8, 10), 0, method=row)


def test_rise_of_a_volume_finds_the_block() -> None:
    images = torch.zeros(1, 2, 6, 8, 10)
    images[:, 0] = 3.0
    found = sightline.maps(Block(), images, 0, method="rise:masks=3000:cells=3", seed=1)[0]
    mask = inside() > 0
    assert mask.flatten()[found.argmax()]
    assert found[mask].mean() > found[~mask].mean() + found[~mask].std()


def test_score_cam_of_a_volume_is_its_definition() -> None:
    model, images, layer = asked(method("score-cam"), 3)
    with torch.no_grad():
        features = model.late(model.early(images[:1]))
        large = interpolate(features, (6, 8, 10), mode="trilinear")[0]
        low, high = large.flatten(1).amin(1), large.flatten(1).amax(1)
        masks = (large - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)
        weights = torch.cat([model(images[:1] * mask)[:, 2] for mask in masks]).softmax(0)
        true = torch.einsum("c,cdhw->dhw", weights, features[0]).relu()
    found = sightline.maps(model, images[:1], 2, layer=layer, method="score-cam")[0]
    assert_close(found, true)


def test_recipro_cam_of_a_volume_has_neighbours_in_three_directions() -> None:
    model, images, layer = asked(method("recipro-cam"), 3)
    with torch.no_grad():
        features = model.late(model.early(images[:1]))
        one = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
        kernel = torch.einsum("i,j,k->ijk", one, one, one)[None, None]
        true = torch.empty(3, 4, 5, dtype=torch.float64)
        for z in range(3):
            for y in range(4):
                for x in range(5):
                    mask = torch.zeros(1, 1, 3, 4, 5, dtype=torch.float64)
                    mask[0, 0, z, y, x] = 1
                    true[z, y, x] = model.head((features * conv3d(mask, kernel, padding=1)).mean((2, 3, 4)))[0, 1]
    found = sightline.maps(model, images[:1], 1, layer=layer, method="recipro-cam")[0]
    assert_close(found, true - true.min())


def test_guided_grad_cam_of_a_volume_is_the_product() -> None:
    model, images, layer = asked(method("guided-grad-cam"), 3)
    coarse = sightline.maps(model, images, 1, layer=layer)
    fine = sightline.maps(model, images, 1, method="guided-backprop")
    large = interpolate(coarse[:, None], (6, 8, 10), mode="trilinear")[:, 0]
    assert_close(sightline.maps(model, images, 1, layer=layer, method="guided-grad-cam"), fine * large)


@pytest.mark.parametrize("rank", OTHER)
def test_compositions_take_any_rank_but_flips(rank: int) -> None:
    row = method("layer-cam")
    model, images, layer = asked(row, rank)
    saliency = method("saliency")
    for composed in (over_noise(row, samples=2), over_layers(row), product(saliency, row)):
        found = sightline.maps(model, images, 1, layer=layer, method=composed)
        assert found.ndim == rank + 1
        assert found.isfinite().all()
    assert_close(
        sightline.maps(model, images, 1, layer=layer, method=product(saliency, row)),
        sightline.maps(model, images, 1, method=saliency)
        * resized(sightline.maps(model, images, 1, layer=layer, method=row)[:, None], SIZES[rank])[:, 0],
    )
    with pytest.raises(MethodError, match="over flips is defined for images"):
        sightline.maps(model, images, 1, layer=layer, method=over_flips(row))


def test_a_volume_is_blurred_in_all_directions_alike() -> None:
    spike = torch.zeros(9, 9, 9, dtype=torch.float64)
    spike[4, 4, 4] = 1
    blur = blurred(spike, 0.1, 3)
    line = blurred(spike[4, 4], 0.1, 1)
    assert_close(blur, torch.einsum("i,j,k->ijk", line, line, line))
    assert_close(blur.sum(), torch.ones((), dtype=torch.float64), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("shape", "space", "order", "grid"), [
    ((1, 512, 2, 7, 7), (16, 112, 112), Order.CHANNELS_FIRST, (2, 7, 7)),  # r3d_18
    ((1, 64, 16, 56, 56), (16, 112, 112), Order.CHANNELS_FIRST, (16, 56, 56)),
    ((1, 1, 10, 16, 24), (10, 64, 96), Order.CHANNELS_FIRST, (10, 16, 24)),  # (1, 10, 16) would be a grid too
    ((1, 16, 7, 7, 768), (32, 224, 224), Order.CHANNELS_LAST, (16, 7, 7)),  # swin3d
    ((1, 8, 28, 28, 96), (16, 112, 112), Order.CHANNELS_LAST, (8, 28, 28)),
    ((1, 6, 3, 4, 5), (6, 8, 10), Order.CHANNELS_FIRST, (3, 4, 5)),
    ((1, 65, 12), (8, 8, 8), Order.TOKENS, (4, 4, 4)),
])  # fmt: skip
def test_grids_of_clips_and_volumes_are_found(shape: Any, space: Any, order: Order, grid: Any) -> None:
    found = layout(shape, space)
    assert found is not None
    assert (found.order, found.grid) == (order, grid)
