"""Inception v3 of 2015-12-05, the network of the Frechet Inception Distance: 2,048 features of its last pooling.

Heusel et al. 2017 (arXiv:1706.08500). The study names the file `pt_inception-2015-12-05-6726825d.pth`, or the same
tensors as .safetensors, with its SHA-256. Only with this network is a Frechet distance comparable with published FID
values, and only at the same number of images; published values differ in how they resize as well (Parmar et al. 2022,
arXiv:2104.11222). Here it is done as the widely used PyTorch versions do it: bilinear, without antialiasing.
An image takes about 0.3 s on one slow core.

Known failure: it was taught photographs of 1,000 kinds of things; on medical images its order of generators can differ
from that of human readers.
"""

from functools import cache

import numpy as np
import torch

from chambit.measure.networks import inputs
from chambit.measure.networks.inception import Inception
from chambit.measure.weights import Weights, fit, tensors

version = "1"
SOURCE = "file"
PREPROCESSING = (
    "squeezed to 299 x 299 pixels, bilinear, not antialiased; grey three times; mean 0.5, standard deviation 0.5"
)
SIDE = 299
HALF = (0.5, 0.5, 0.5)  # [0, 1] to [-1, 1]


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, 2048) of images float32 (N, H, W) in [0, 1]."""
    return inputs.features(
        _network(weights),
        images,
        lambda x: inputs.standardised(inputs.resized(x, SIDE, antialias=False), HALF, HALF),
    )


@cache
def _network(weights: Weights) -> Inception:
    found = tensors(weights)
    with torch.device("meta"):
        network = Inception()
    return fit(network, found, weights, "Inception v3 (2015-12-05)")
