"""Inception v3 as the Frechet Inception Distance uses it: the network of 2015-12-05 with 1,008 classes.

Szegedy et al. 2015 (arXiv:1512.00567). The graph that Heusel et al. 2017 (arXiv:1706.08500) took differs from the one
of the paper in two places: average pooling does not count the padding, and the last block pools by maximum. Parameter
names are those of the public state dict `pt_inception-2015-12-05-6726825d.pth`, which has no auxiliary classifier.
23,850,960 parameters, 21,785,568 of them before the classifier.
"""

import torch
from torch import nn
from torch.nn import functional as F

FEATURES = 2048
CLASSES = 1008

_Kernel = int | tuple[int, int]


class _Unit(nn.Module):
    """Convolution without bias, batch norm, ReLU; padded to keep the size unless it strides."""

    def __init__(self, into: int, out: int, kernel: _Kernel = 1, stride: int = 1, padding: _Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _row(into: int, out: int) -> _Unit:
    return _Unit(into, out, (1, 7), padding=(0, 3))


def _column(into: int, out: int) -> _Unit:
    return _Unit(into, out, (7, 1), padding=(3, 0))


def _average(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class _A(nn.Module):
    """35 x 35: one 5 x 5, two 3 x 3 in a row."""

    def __init__(self, into: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(into, 64)
        self.branch5x5_1 = _Unit(into, 48)
        self.branch5x5_2 = _Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Unit(into, 64)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, padding=1)
        self.branch_pool = _Unit(into, pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], 1)


class _B(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, into: int) -> None:
        super().__init__()
        self.branch3x3 = _Unit(into, 384, 3, 2)
        self.branch3x3dbl_1 = _Unit(into, 64)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, 2)], 1)


class _C(nn.Module):
    """17 x 17: 7 x 7 as 1 x 7 and 7 x 1."""

    def __init__(self, into: int, middle: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(into, 192)
        self.branch7x7_1 = _Unit(into, middle)
        self.branch7x7_2 = _row(middle, middle)
        self.branch7x7_3 = _column(middle, 192)
        self.branch7x7dbl_1 = _Unit(into, middle)
        self.branch7x7dbl_2 = _column(middle, middle)
        self.branch7x7dbl_3 = _row(middle, middle)
        self.branch7x7dbl_4 = _column(middle, middle)
        self.branch7x7dbl_5 = _row(middle, 192)
        self.branch_pool = _Unit(into, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_average(x))], 1)


class _D(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, into: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(into, 192)
        self.branch3x3_2 = _Unit(192, 320, 3, 2)
        self.branch7x7x3_1 = _Unit(into, 192)
        self.branch7x7x3_2 = _row(192, 192)
        self.branch7x7x3_3 = _column(192, 192)
        self.branch7x7x3_4 = _Unit(192, 192, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], 1)


class _E(nn.Module):
    """8 x 8: 3 x 3 as 1 x 3 beside 3 x 1; the last one pools by maximum."""

    def __init__(self, into: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.branch1x1 = _Unit(into, 320)
        self.branch3x3_1 = _Unit(into, 384)
        self.branch3x3_2a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Unit(into, 448)
        self.branch3x3dbl_2 = _Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Unit(into, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.last else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(once), self.branch3x3_2b(once)]
        parts += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    """Images (N, 3, 299, 299) in [-1, 1] to the features of the last pooling, (N, 2048).

    The classifier is not applied. It is here because its 1,008 rows tell this network from the one with 1,000 classes
    that has the same names and other weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Unit(64, 80)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _A(192, 32), _A(256, 64), _A(288, 64)
        self.Mixed_6a = _B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (
            _C(768, 128),
            _C(768, 160),
            _C(768, 160),
            _C(768, 192),
        )
        self.Mixed_7a = _D(768)
        self.Mixed_7b, self.Mixed_7c = _E(1280, last=False), _E(FEATURES, last=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        out: torch.Tensor = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return out
