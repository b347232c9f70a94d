"""Where a classifier looked, as numbers: class-activation maps and what share of them lies in a region.

A heat map is float (H, W), nowhere negative; its scale means nothing, only its shape counts. A map that is zero
everywhere looked nowhere in particular and counts as an even one. What is measured is where the network looked, never
where a disease is: saliency maps of chest networks find lesions far worse than readers do (Arun et al. 2021,
doi:10.1148/ryai.2021200267; Saporta et al. 2022, doi:10.1038/s42256-022-00536-x).
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import cast

import numpy as np
import torch
from scipy import ndimage, stats
from torch import nn
from torch.nn import functional as F

from chambit.measure import classifier

BATCH = 64
STRIDE = 4  # pixels from one unit of the last map to the next
TOLERANCE = 0.03  # of the longer side
MARGIN = 0.1  # of each side
PIXELS = 2**22  # ranked at a time


class Watched(nn.Module):
    """A trained classifier with a name, `pooled`, for the maps its head pools, and with logits whose mean is 0.

    Grad-CAM needs a module whose output are the last maps, and there they are a sum of two blocks. The logits are
    centred because the loss reads their differences alone: what they have in common is never trained, and the gradient
    of a single logit would carry that noise into the map.
    """

    def __init__(self, network: classifier.Network) -> None:
        super().__init__()
        self.network, self.pooled = network, nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Centred logits (N, classes) of standardised images (N, 1, H, W)."""
        last: list[torch.Tensor] = []
        hooks = [
            norm.register_forward_hook(lambda _module, _given, out: last.append(F.relu(out)))
            for norm in list(self.network.norms)[-2:]
        ]
        try:
            self.network(x)
        finally:
            for hook in hooks:
                hook.remove()
        h = self.pooled((last[0] + last[1]).contiguous())
        logits = self.network.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))
        return cast(torch.Tensor, logits - logits.mean(1, keepdim=True))


def grad_cam(network: classifier.Network, images: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where the network looked for the score of one class of each image (Selvaraju et al. 2017, arXiv:1610.02391).

    Args:
        network: as `classifier.train` returns it.
        images: float32 (N, H, W) in [0, 1].
        target: int (N,), the class asked for.

    Returns:
        Float16 (N, H, W): the map of the last layer enlarged bilinearly, its largest value 1, or 0 throughout.
    """
    from monai.visualize.class_activation_maps import GradCAM

    # put into eval first: MONAI sets a module back to the mode it came in, and a new one is in training
    camera = GradCAM(Watched(network).eval(), "pooled", upsampler=_enlarger, postprocessing=_as_it_is)
    out = np.zeros(images.shape, np.float16)
    for label in np.unique(target):
        index = np.flatnonzero(target == label)  # one class at a time: the score of a batch is a sum over its images
        for first in range(0, len(index), BATCH):
            at = index[first : first + BATCH]
            x = torch.from_numpy(np.ascontiguousarray((images[at] - network.mean) / network.std, np.float32))
            heat = camera(x[:, None], class_idx=int(label))[:, 0].detach().numpy()
            top = heat.max((1, 2), keepdims=True)
            out[at] = heat / np.where(top > 0, top, 1)
    return out


def _enlarger(shape: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Bilinear enlargement of maps (N, 1, h, w) to images of this shape, each value where its unit looks.

    Unit i of a map is centred on pixel 4 i, for both strides of 2 start at the first pixel. Enlarging as if each unit
    stood for a tile of 4 pixels, as is usual, lays the map 1.5 pixels too far right and down.
    """

    def enlarge(small: torch.Tensor) -> torch.Tensor:
        ends = [2 * torch.arange(n) / (STRIDE * max(1, m - 1)) - 1 for n, m in zip(shape, small.shape[2:], strict=True)]
        rows, columns = torch.meshgrid(*ends, indexing="ij")
        grid = torch.stack([columns, rows], 2).expand(len(small), -1, -1, -1)
        return F.grid_sample(small, grid, mode="bilinear", padding_mode="border", align_corners=True)

    return enlarge


def _as_it_is(heat: torch.Tensor) -> torch.Tensor:
    """MONAI would stretch all maps of a batch together."""
    return heat


def cascade(network: classifier.Network, seed: int) -> Iterator[tuple[str, classifier.Network]]:
    """The network with its weights drawn anew, from the head downwards, until nothing learned is left.

    Cascading randomisation of Adebayo et al. 2018 (arXiv:1810.03292).

    Args:
        network: a trained one; it is left as it is.
        seed: of the new weights.

    Yields:
        The lowest part drawn anew ('head', 'block 3' ... 'block 0'), and the network.
    """
    changed = deepcopy(network)
    blocks = list(zip(changed.convolutions, changed.norms, strict=True))
    parts: list[tuple[str, Sequence[nn.Module]]] = [("head", (changed.head,))]
    parts += [(f"block {k}", blocks[k]) for k in reversed(range(len(blocks)))]
    for number, (name, modules) in enumerate(parts):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            for module in modules:
                cast(nn.Linear, module).reset_parameters()
        yield name, changed


def inside(heat: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share of each map that lies in a region: the energy-based pointing game (Wang et al. 2020, arXiv:1910.01279).

    Args:
        heat: (N, H, W), nowhere negative.
        regions: bool (N, H, W) or (H, W).

    Returns:
        Float64 (N,) in [0, 1]; the region's share of the area for a map of zeros.

    >>> inside(np.array([[[3.0, 1.0]], [[0.0, 0.0]]]), np.array([[True, False]])).tolist()
    [0.75, 0.5]
    """
    given = heat.astype(np.float64)
    total = given.sum((1, 2))
    area = np.broadcast_to(regions, heat.shape).mean((1, 2))
    within = np.where(regions, given, 0).sum((1, 2))
    return np.asarray(np.where(total > 0, within / np.where(total > 0, total, 1), area))


def reach(shape: tuple[int, ...]) -> int:
    """How far beside a region a hit still counts, in pixels: 3 % of the longer side, at least 1."""
    return max(1, round(TOLERANCE * max(shape)))


def widened(masks: np.ndarray, distance: float) -> np.ndarray:
    """Masks bool (N, H, W) and every pixel within `distance` pixels of them; an empty mask stays empty."""
    out = [ndimage.distance_transform_edt(~mask) <= distance if mask.any() else mask for mask in masks]
    return np.array(out, bool).reshape(masks.shape)


def pointing(heat: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Whether the hottest pixel lies in the region: the pointing game (Zhang et al. 2018, arXiv:1608.00507).

    Args:
        heat: (N, H, W).
        regions: bool (N, H, W), masks with their tolerance (`widened`).

    Returns:
        Float64 (N,): 1 or 0; where several pixels are equally hot, the share of them in the region.
    """
    hottest = heat == heat.max((1, 2), keepdims=True)
    return np.asarray((hottest & regions).sum((1, 2)) / hottest.sum((1, 2)))


def centre(shape: tuple[int, ...]) -> np.ndarray:
    """What looking at the middle alone would give: a Gaussian (H, W) whose deviation is a quarter of each side."""
    rows, columns = (np.exp(-8 * np.square((np.arange(n) + 0.5) / n - 0.5)) for n in shape)
    return np.outer(rows, columns)


def border(shape: tuple[int, ...]) -> np.ndarray:
    """The outer tenth of each side, at least one pixel: bool (H, W).

    >>> border((10, 20)).sum().item(), border((10, 20))[0].all().item(), border((10, 20))[1, 2].item()
    (72, True, False)
    """
    out = np.ones(shape, bool)
    rows, columns = (max(1, round(MARGIN * n)) for n in shape)
    out[rows:-rows, columns:-columns] = False
    return out


def agreement(heats: Sequence[np.ndarray]) -> np.ndarray:
    """Spearman's correlation of the maps of every two networks, image by image.

    Args:
        heats: K arrays (N, H, W), one for each network.

    Returns:
        Float64 (K, K, N) in [-1, 1]; 0 where a map is even, for then it orders nothing.
    """
    many, pixels = heats[0].shape[0], int(np.prod(heats[0].shape[1:]))
    out = np.zeros((len(heats), len(heats), many))
    step = max(1, PIXELS // (pixels * len(heats)))
    for first in range(0, many, step):
        part = slice(first, first + step)
        ranks = np.stack([stats.rankdata(heat[part].reshape(-1, pixels), axis=1) for heat in heats])
        ranks -= ranks.mean(2, keepdims=True)
        length = np.sqrt(np.square(ranks).sum(2, keepdims=True))
        ranks /= np.where(length > 0, length, 1)
        out[:, :, part] = np.einsum("kip,lip->kli", ranks, ranks, optimize=True)
    return np.clip(out, -1, 1)
