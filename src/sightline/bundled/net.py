"""The embedded nets' architecture: a small residual net with a pooled linear head.

Blocks are the basic blocks of He et al., *Deep Residual Learning*, arXiv 1512.03385,
section 4.1; the nets stop early, so that the last feature map keeps its places: three stages
at stride 16, which is 8 x 8 cells of a 128 px image, two at stride 8. Global average pooling
and one linear layer end them, so CAM is defined on them.
"""

from collections import OrderedDict

from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution and its batch norm, in that order, without bias."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs)))


class Block(nn.Module):
    """relu(x' + f(x)): two 3 x 3 convolutions beside a shortcut that is projected where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, stride)
        self.second = conv_norm(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, stride, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(self.first(x).relu())
        kept: Tensor = self.shortcut(x)
        return (changed + kept).relu()


class SmallResNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes): a stem of so many channels, then `blocks` blocks of each width.

    `features` ends with the last width's channels, at stride 4 after the first width, twice that after each other.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (64, 128, 256), blocks: int = 2, stem: int = 32) -> None:
        super().__init__()
        entry = nn.Sequential(conv_norm(3, stem, stride=2), nn.ReLU(), conv_norm(stem, widths[0], stride=2), nn.ReLU())
        stages, inputs = [], widths[0]
        for index, width in enumerate(widths):
            strides = [1 if index == 0 else 2] + [1] * (blocks - 1)
            stages.append(nn.Sequential(*(Block(inputs if i == 0 else width, width, s) for i, s in enumerate(strides))))
            inputs = width
        self.features = nn.Sequential(entry, *stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.features(images)).flatten(1))
        return logits
