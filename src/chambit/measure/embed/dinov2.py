"""DINOv2 vision transformers of Meta (S/14, B/14, L/14, with or without registers): the class token, 384 to 1,024.

Oquab et al. 2023 (arXiv:2304.07193). The study names an official file, for example `dinov2_vitb14_pretrain.pth`, or the
same tensors as .safetensors, with its SHA-256; width and depth are read from it. Stein et al. 2023 (arXiv:2306.04675)
found the Frechet distance on these features closer to human judgement than on Inception's.

The whole image is squeezed to 224 x 224; the official evaluation shrinks to 256 and cuts out the middle, which would
throw away the border of a medical image. An image takes about 0.2 s (S) or 0.7 s (B) on one slow core. Known failure:
taught photographs; see `raddino` for chest radiographs.
"""

from functools import cache

import numpy as np

from chambit.measure.networks import inputs, vit
from chambit.measure.weights import Weights, tensors

version = "1"
SOURCE = "file"
PREPROCESSING = (
    "squeezed to 224 x 224 pixels, bicubic, antialiased; grey three times; "
    "mean 0.485, 0.456, 0.406, standard deviation 0.229, 0.224, 0.225"
)
SIDE = 224


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, width) of images float32 (N, H, W) in [0, 1]; width 384, 768 or 1,024."""
    return inputs.features(
        _network(weights),
        images,
        lambda x: inputs.standardised(inputs.resized(x, SIDE, "bicubic"), inputs.IMAGENET_MEAN, inputs.IMAGENET_STD),
    )


@cache
def _network(weights: Weights) -> vit.VisionTransformer:
    found = tensors(weights, inside=("teacher", "model", "state_dict"), prefixes=("module.", "backbone."))
    return vit.loaded({name: t for name, t in found.items() if not name.startswith(_HEADS)}, weights, "DINOv2")


_HEADS = ("dino_head.", "ibot_head.")  # of the training, in a teacher's checkpoint
