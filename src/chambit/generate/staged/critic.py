"""The critics of the adversarial stages: MONAI's PatchGAN, which judges overlapping patches, and their losses.

PatchGAN: Isola et al. 2017 (arXiv:1611.07004). Least squares: Mao et al. 2017 (arXiv:1611.04076). Relativistic
average: Jolicoeur-Martineau 2018 (arXiv:1807.00734) as ESRGAN has it (arXiv:1809.00219, section 3.2). Matching of the
critic's features: Salimans et al. 2016 (arXiv:1606.03498, section 3.1), per layer.
"""

import torch
from torch import nn
from torch.nn import functional as F


def patch_critic(channels: int, width: int, layers: int, seed: int) -> nn.Module:
    """MONAI's PatchDiscriminator; answers a list of features, the judgement last.

    Norms are over two groups of channels: instance norms would hide from the critic how bright and of which colour a
    picture is, and a translation would leave both as they are.
    """
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchDiscriminator(
            spatial_dims=2,
            in_channels=channels,
            channels=width,
            num_layers_d=layers,
            norm=("GROUP", {"num_groups": 2}),
            bias=True,
        )


def least_squares(judged: torch.Tensor, real: bool) -> torch.Tensor:
    """Squared distance of judgements from 1 (real) or 0."""
    return (judged.float() - float(real)).square().mean()


def relativistic(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """How far `high` is not judged more real than `low` is on average, and the other way round."""
    high, low = high.float(), low.float()
    up, down = high - low.mean(), low - high.mean()
    return (F.softplus(-up).mean() + F.softplus(down).mean()) / 2


def matching(made: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
    """Mean absolute difference of the critic's features, mean over its layers but the last."""
    return torch.stack(
        [(a.float() - b.float().detach()).abs().mean() for a, b in zip(made[:-1], real[:-1], strict=True)]
    ).mean()
