"""ResNet-50 taught radiological images (RadImageNet): 2,048 features; volatile, a third opinion and never the only one.

Mei et al. 2022 (doi:10.1148/ryai.210315): 1.35 million CT, MR and ultrasound images. Woodland et al. 2024
(arXiv:2311.13717) found Frechet distances on these features volatile and not in line with human readers, while those on
ImageNet features were; so look at them beside another extractor.

The study names the released `ResNet50.pt`, or the same tensors as .safetensors, with its SHA-256. Its names are those
of a plain sequence of torchvision's layers: `backbone.0` is conv1, `backbone.1` bn1, `backbone.4` to `backbone.7` are
layer1 to layer4 (2, 3 and 8 have no parameters). Torchvision's own names are taken as well; a classifier `fc` is not
used. Grey values go to [-1, 1] as in the authors' PyTorch examples; other programs subtract ImageNet means in the order
blue, green, red instead, so distances computed there are not comparable.
"""

import re
from functools import cache

import numpy as np
import torch

from chambit.measure.networks import inputs
from chambit.measure.networks.resnet import ResNet
from chambit.measure.weights import Weights, fit, tensors

version = "1"
SOURCE = "file"
PREPROCESSING = (
    "squeezed to 224 x 224 pixels, bilinear, antialiased; grey three times; mean 0.5, standard deviation 0.5"
)
SIDE = 224
HALF = (0.5, 0.5, 0.5)
_STAGES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, 2048) of images float32 (N, H, W) in [0, 1]."""
    return inputs.features(
        _network(weights), images, lambda x: inputs.standardised(inputs.resized(x, SIDE), HALF, HALF)
    )


@cache
def _network(weights: Weights) -> ResNet:
    found = tensors(weights, inside=("state_dict",), prefixes=("module.", "backbone."))
    named = {re.sub(r"^[014567](?=\.)", lambda place: _STAGES[place[0]], name): t for name, t in found.items()}
    with torch.device("meta"):
        network = ResNet()
    return fit(network, named, weights, "RadImageNet ResNet-50", allow_unused=("fc.",))
