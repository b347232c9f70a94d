"""MONAI's DiffusionModelUNet as a network of this house: flat pictures, or volumes and sequences in three dimensions.

Pinheiro et al. 2023 (arXiv:2307.15208); MONAI is Apache-2.0. It starts at the full resolution of what it is given and
is meant for graphics processors; at equal time on two CPU cores the small UNet makes several times as many steps.

Conditions: class, factors and numbers go through this house's embedding, which takes the place of MONAI's table of
classes; maps are further channels. Of items with a class for each frame the frames' mean is told and, as channels, the
class of each frame.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from chambit.core.errors import ExtensionError, Problem
from chambit.generate.networks.embedding import Embedded

GROUPS = 8


class MonaiUNet(Embedded):
    """F(x, t, conditions) for latents (N, C, h, w), or (N, D, C, h, w) of items with an axis.

    Args:
        channels: C of the latents.
        classes: number of classes; index `classes` means "no class given".
        maps: channels of the spatial condition, 0 for none.
        width: channels of the first level; twice and three times that below.
        depth: residual blocks per level.
        factors: number of levels of each factor.
        numbers: length of the vector.
        frames: D of items with an axis, 1 without.

    Raises:
        ExtensionError: when the package `einops`, which MONAI's attention needs, is not installed.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        maps: int,
        width: int,
        depth: int,
        *,
        factors: tuple[int, ...] = (),
        numbers: int = 0,
        frames: int = 1,
    ) -> None:
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
        from monai.utils.module import OptionalImportError

        size = 4 * width  # MONAI's time embedding
        super().__init__(classes, size, factors, numbers)
        self.frames = frames
        try:
            self.net = DiffusionModelUNet(
                spatial_dims=3 if frames > 1 else 2,
                in_channels=channels + maps + (classes + 1 if frames > 1 else 0),
                out_channels=channels,
                channels=(width, 2 * width, 3 * width),
                attention_levels=(False, False, True),
                num_res_blocks=depth,
                num_head_channels=width,
                norm_num_groups=GROUPS,
                num_class_embeds=1,
            )
        except OptionalImportError as error:  # its attention rearranges by another package
            problem = Problem("einops", "is not installed", "pip install -c constraints.txt einops")
            raise ExtensionError("MONAI's network needs a package that is missing.", [problem]) from error
        # what it adds to its own embedding of time is ours, told once more of the time
        setattr(self.net, "class_embedding", nn.Identity())  # noqa: B010  # typed as a table there

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        label: torch.Tensor,
        maps: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
        vector: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, same shape as x; arguments as of `chambit.generate.networks.unet.UNet`."""
        h = x if maps is None else torch.cat([x, maps], -3)
        if self.frames == 1:
            told = self.embedding(t, label, factors, vector)
            return self._run(h.reshape(-1, *h.shape[-3:]), t, told).reshape(x.shape)
        of_frames = label if label.ndim == 2 else label[:, None].expand(x.shape[:2])
        told = self.embedding(t, None, factors, vector) + self.label(of_frames).mean(1)
        one_hot = F.one_hot(of_frames, self.classes + 1).to(x.dtype)[..., None, None].expand(-1, -1, -1, *x.shape[-2:])
        return self._run(torch.cat([h, one_hot], 2).transpose(1, 2), t, told).transpose(1, 2)

    def _run(self, x: torch.Tensor, t: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """The net on sides that are brought to multiples of 4 by repeating the edge, and cut again."""
        shape = x.shape[2:]
        more = [side for length in reversed(shape) for side in (0, math.ceil(length / 4) * 4 - length)]
        out = self.net(F.pad(x, more, mode="replicate"), 1000.0 * t.float(), class_labels=F.silu(told))
        cut: torch.Tensor = out[(slice(None), slice(None), *(slice(length) for length in shape))]
        return cut
