"""Real nets for the results page, from a folder of weights.

On the command line: `python -m sightline explain bird.jpg --model recipes.real_nets:deeplab_voc`. Each
factory takes the folder, which holds `weights/`; by default `data` in SIGHTLINE_SHARED, or in `shared`
beside the repository. Where the weights come from, and what was folded into them, is told there.
"""

import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import sightline
from sightline.sources.weights import fill, read_weights

DATA = Path(os.environ.get("SIGHTLINE_SHARED", Path(__file__).parents[2] / "shared")) / "data"

VOC = (
    "aeroplane, airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable, dining table", "dog", "horse", "motorbike, motorcycle", "person", "pottedplant, potted plant",
    "sheep", "sofa, couch", "train", "tvmonitor, tv",
)  # fmt: skip
"""PASCAL VOC's classes, each with COCO's name of the same thing."""

PRESENT = 19.0
"""The evidence, summed as in `ImageLevel`, at which a class is as likely in a picture as not.

Chosen among whole numbers for the least log loss on 183 COCO pictures. It moves probabilities, not maps.
"""


def squeezenet1_0(data: str | Path = DATA) -> sightline.Model:
    """SqueezeNet 1.0 with pruned weights, most of them zero."""
    return _of_imagenet("squeezenet1_0", Path(data))


def squeezenet1_1(data: str | Path = DATA) -> sightline.Model:
    """SqueezeNet 1.1."""
    return _of_imagenet("squeezenet1_1", Path(data))


def mobilenet_v2(data: str | Path = DATA) -> sightline.Model:
    """MobileNetV2, padded as where it was trained."""
    model = mobilenet_v2_plain(data)
    return replace(model, module=as_in_tensorflow(model.module), name="mobilenet_v2")


def mobilenet_v2_plain(data: str | Path = DATA) -> sightline.Model:
    """MobileNetV2 as torchvision pads it, but not as it was trained: its grid is shifted at each stride.

    Of a thousand training pictures it then gets 80 % right, where 89 % were.
    """
    return replace(_of_imagenet("mobilenet_v2", Path(data)), name="mobilenet_v2, plain padding")


def deeplab_voc(data: str | Path = DATA) -> sightline.Model:
    """Which of the twenty VOC classes are in a picture, by the DeepLab v3+ net's evidence for them anywhere in it."""
    module, weights = ImageLevel(len(VOC)), _deeplab_weights(Path(data))
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][1:]  # the first is the background, which no picture is asked about
    fill(module, weights, given="deeplab_mnv2_voc")
    return sightline.wrap(
        module.eval(),
        preprocess=sightline.Preprocess(size=(513, 513), fit="pad"),
        labels=VOC,
        name="deeplab_mnv2_voc",
        multi_label=True,
    )


def deeplab_regions(data: str | Path = DATA) -> sightline.Model:
    """Which of the twenty VOC classes, or the background, each pixel shows."""
    return sightline.wrap(
        deeplab_segmenter(data),
        preprocess=sightline.Preprocess(size=(513, 513), fit="pad"),
        labels=("background", *VOC),
        name="deeplab_mnv2_voc, regions",
        task="regions",
    )


def deeplab_segmenter(data: str | Path = DATA) -> "DeepLab":
    """The net itself: images (N, 3, H, W) -> logits (N, 21, H, W) of the background and the VOC classes."""
    module = DeepLab(1 + len(VOC))
    fill(module, _deeplab_weights(Path(data)), given="deeplab_mnv2_voc")
    return module.eval()


class DeepLab(nn.Module):
    """DeepLab v3+ (Chen et al., 2018, arXiv 1802.02611) on MobileNetV2 without a decoder, as it was made for phones.

    The backbone keeps its grid from stride 16 on, and dilates what follows the stride that it leaves out.
    Beside each cell's features stand those of the whole image. Best at 513 x 513 pixels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        backbone = torchvision.models.mobilenet_v2(weights=None).features[:18]
        for place, dilation in ((14, 1), (15, 2), (16, 2), (17, 2)):
            depthwise = backbone[place].conv[1][0]
            depthwise.stride, depthwise.dilation, depthwise.padding = (1, 1), (dilation,) * 2, (dilation,) * 2
        self.backbone = as_in_tensorflow(backbone)
        self.pool = Rectified(320, 256, 1)
        self.aspp = Rectified(320, 256, 1)
        self.project = Rectified(512, 256, 1)
        self.classifier = nn.Conv2d(256, classes, 1)

    def cells(self, images: Tensor) -> Tensor:
        """Logits (N, classes, h, w) at stride 16."""
        features = self.backbone(images)
        whole = self.pool(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[2:])
        evidence: Tensor = self.classifier(self.project(torch.cat([whole, self.aspp(features)], 1)))
        return evidence

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.cells(images), images.shape[2:], mode="bilinear", align_corners=True)


class ImageLevel(DeepLab):
    """One logit a class for the whole picture: log sum exp over the cells of the class's logit, less PRESENT.

    Its gradient in the cells is their softmax, the signal of TorchRay's pointing game.
    """

    def forward(self, images: Tensor) -> Tensor:
        return self.cells(images).flatten(2).logsumexp(2) - PRESENT


class Rectified(nn.Conv2d):
    """A convolution and its ReLU."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values).relu()


class StridedAsInTensorflow(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 that pads an even size at its end only, an odd one at both."""

    def forward(self, values: Tensor) -> Tensor:
        height, width = values.shape[2:]
        return super().forward(F.pad(values, (width % 2, 1, height % 2, 1)))


def as_in_tensorflow(net: nn.Module) -> nn.Module:
    """The net with its convolutions of stride 2 padded so; their weights stay the same parameters."""
    for name, conv in list(net.named_modules()):
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            parent, _, own = name.rpartition(".")
            padded = StridedAsInTensorflow(
                conv.in_channels, conv.out_channels, 3, 2, groups=conv.groups, bias=conv.bias is not None
            )
            padded.weight, padded.bias = conv.weight, conv.bias
            setattr(net.get_submodule(parent), own, padded.train(conv.training))
    return net


def _of_imagenet(name: str, data: Path) -> sightline.Model:
    weights = data / "weights"
    return sightline.load(
        name,
        weights=weights / f"{name}_imagenet.safetensors",
        labels=weights / "imagenet_classes.json",
        preprocess=sightline.Preprocess(),  # a side of 256, of which 224, as when the weights were checked
        device="cpu",
    )


def _deeplab_weights(data: Path) -> dict[str, Tensor]:
    return read_weights(data / "weights/deeplab_mnv2_voc.safetensors")
