"""ResNet with bottlenecks (He et al. 2015, arXiv:1512.03385), without its classifier.

The stride of a stage is in its first 3 x 3 convolution, as in torchvision and in the weights that follow it, and not in
the 1 x 1 before it as in the paper. Parameter names are torchvision's. ResNet-50: 23,508,032 parameters.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

RESNET50 = (3, 4, 6, 3)
_EXPANSION = 4


class _Bottleneck(nn.Module):
    """1 x 1 to fewer channels, 3 x 3, 1 x 1 to four times as many, beside a short cut."""

    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1 = nn.Conv2d(into, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + beside)


class ResNet(nn.Module):
    """Images (N, 3, H, W) to the mean of the last stage over positions, (N, 32 width); 2,048 for width 64."""

    def __init__(self, blocks: Sequence[int] = RESNET50, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, into = [], width
        for stage, count in enumerate(blocks):
            row = []
            for block in range(count):
                row.append(_Bottleneck(into, width << stage, 2 if stage and not block else 1))
                into = _EXPANSION * (width << stage)
            stages.append(nn.Sequential(*row))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        out: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
        return out
