"""The embedded detector's architecture: torchvision's FCOS on the features of a small residual net.

Tian et al., *FCOS*, arXiv 1904.01355: each position of the feature map is a candidate. Differs from torchvision's
own: one level for all sizes, as the pictures are small; fewer convolutions in the head; batch norm in the place of
group norm, so that what a position sees stays near it.
"""

from torch import nn

from sightline.bundled.net import SmallResNet


def small_fcos(
    classes: int,
    widths: tuple[int, ...] = (32, 64),
    blocks: int = 2,
    stem: int = 16,
    convs: int = 2,
    size: int = 96,
) -> nn.Module:
    """A detector of so many classes, without one for the background, in pictures of `size` pixels a side.

    Its `backbone` is SmallResNet's `features`, and its candidates lie at the stride of those.
    """
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.fcos import FCOS, FCOSClassificationHead, FCOSHead, FCOSRegressionHead

    backbone = SmallResNet(classes, widths, blocks, stem).features
    backbone.out_channels = widths[-1]  # type: ignore[assignment]
    stride = 2 ** (len(widths) + 1)
    head = FCOSHead(widths[-1], 1, classes, convs)
    head.classification_head = FCOSClassificationHead(widths[-1], 1, classes, convs, norm_layer=nn.BatchNorm2d)
    head.regression_head = FCOSRegressionHead(widths[-1], 1, convs, norm_layer=nn.BatchNorm2d)
    detector: nn.Module = FCOS(
        backbone, classes, min_size=size, max_size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3,
        anchor_generator=AnchorGenerator(((stride,),), ((1.0,),)), head=head,
    )  # fmt: skip
    return detector
