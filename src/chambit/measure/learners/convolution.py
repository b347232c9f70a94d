"""A small convolutional network that sees local contrast beside the image; about 0.06 million parameters."""

import torch
from torch import nn
from torch.nn import functional as F

version = "1"


def prepare(x: torch.Tensor) -> torch.Tensor:
    """The image, and three times the image minus its blur: a faint finding is then seen within few steps.

    Args:
        x: standardised images (N, 1, H, W).

    Returns:
        (N, 2, H, W).
    """
    blur = x
    for _ in range(2):
        blur = F.avg_pool2d(F.pad(blur, (4, 4, 4, 4), mode="replicate"), 9, 1)
    return torch.cat([x, 3 * (x - blur)], 1)


class Network(nn.Module):
    """Local contrast beside the image, three halvings, mean and maximum over positions."""

    def __init__(self, classes: int, mean: float, std: float, width: int = 16) -> None:
        super().__init__()
        self.mean, self.std = mean, max(std, 1e-6)
        wide = (width, 2 * width, 4 * width, 4 * width)
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(2, wide[0], 5, stride=2, padding=2, bias=False),
                nn.Conv2d(wide[0], wide[1], 3, stride=2, padding=1, bias=False),
                nn.Conv2d(wide[1], wide[2], 3, padding=1, bias=False),
                nn.Conv2d(wide[2], wide[3], 3, padding=1, bias=False),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in wide)
        self.head = nn.Linear(2 * wide[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of standardised images (N, 1, H, W), or of what `prepare` made of them."""
        h = (prepare(x) if x.shape[1] == 1 else x).contiguous(memory_format=torch.channels_last)
        for k, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            out = F.relu(norm(convolution(h)))
            h = h + out if k == 3 else out
        # a small finding lights up one place: the maximum sees it, the mean sees diffuse change
        logits: torch.Tensor = self.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))
        return logits
