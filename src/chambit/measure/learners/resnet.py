"""A small residual network (four stages, eight convolutions) from nothing; about 0.3 million parameters.

ResNet (He et al. 2015, arXiv:1512.03385) as MONAI builds it, one basic block a stage, 16 to 128 channels.
"""

import torch
from torch import nn

version = "1"
WIDTHS = (16, 32, 64, 128)


def prepare(x: torch.Tensor) -> torch.Tensor:
    """The images as they are."""
    return x


class Network(nn.Module):
    """MONAI's ResNet with the mean and the standard deviation of its training images."""

    def __init__(self, classes: int, mean: float, std: float) -> None:
        from monai.networks.nets.resnet import ResNet, ResNetBlock

        super().__init__()
        self.mean, self.std = mean, max(std, 1e-6)
        self.network = ResNet(
            ResNetBlock,
            [1, 1, 1, 1],
            list(WIDTHS),
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=3,
            conv1_t_stride=1,
            num_classes=classes,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of standardised images (N, 1, H, W)."""
        logits: torch.Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits
