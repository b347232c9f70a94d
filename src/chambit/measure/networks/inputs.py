"""From grey images to the input of a feature network, and through it in batches.

Every network here was taught square images of one size, so an image is squeezed to a square: its shape is changed, but
nothing at its border is cut off, where a finding may lie.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

BATCH = 64
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resized(x: torch.Tensor, side: int, mode: str = "bilinear", antialias: bool = True) -> torch.Tensor:
    """Images (N, 1, H, W) squeezed to (N, 1, side, side).

    Args:
        x: float32 (N, 1, H, W).
        side: in pixels.
        mode: `bilinear` or `bicubic` (which can leave [0, 1] by a little).
        antialias: widen the filter where the image shrinks; without it fine texture folds into coarse.
    """
    if x.shape[2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode=mode, align_corners=False, antialias=antialias)


def standardised(x: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(x - mean) / std, the grey value repeated for each channel: (N, 1, H, W) to (N, channels, H, W)."""
    shape = (1, len(mean), 1, 1)
    return (x - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


@torch.inference_mode()
def features(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: np.ndarray,
    prepared: Callable[[torch.Tensor], torch.Tensor],
    batch: int = BATCH,
) -> np.ndarray:
    """What the network says about each image, float64 (N, d).

    Args:
        network: from its input to (n, d); in evaluation mode, so that an image's result depends on no other image
            (apart from rounding: other batch sizes can take other kernels).
        images: float32 (N, H, W) in [0, 1], N at least 1.
        prepared: from float32 (n, 1, H, W) to the network's input.
        batch: images at once.

    Raises:
        ValueError: not (N, H, W), or no images.
    """
    if images.ndim != 3 or not len(images):
        raise ValueError(f"images must be (N, H, W) with N at least 1, not {images.shape}")
    out = []
    for first in range(0, len(images), batch):
        x = torch.from_numpy(np.ascontiguousarray(images[first : first + batch], np.float32))
        out.append(network(prepared(x[:, None])).double().numpy())
    return np.concatenate(out)
