"""A small Inception for 64x64 images: what FID is tried out with where no Inception weights can be had.

A file of it is `torch.save({"arch": "small-inception", "classes": [...], "state_dict": model.state_dict()}, PATH)`.
Distances in its features say nothing about distances in FID's; the rubric's thresholds are not meant for them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64  # pixels
DIMS = 256


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim_in, dim_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(dim_out)
        # Keeps the scale of the input, which the batch norm's running statistics begin with.
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Four branches of dim_out / 4 channels each: 1x1; 3x3; two 3x3; mean pool and 1x1."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        dim = dim_out // 4
        self.branch1 = Unit(dim_in, dim, 1)
        self.branch3 = nn.Sequential(Unit(dim_in, dim, 1), Unit(dim, dim, 3))
        self.branch5 = nn.Sequential(Unit(dim_in, dim, 1), Unit(dim, dim, 3), Unit(dim, dim, 3))
        self.pool = Unit(dim_in, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
        return torch.cat([self.branch1(x), self.branch3(x), self.branch5(x), pooled], 1)


class SmallInception(nn.Module):
    """`features` maps (B, 3, H, W) in [0, 1] to (B, 256); `forward` goes on to (B, classes)."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(Unit(3, 32, 3, 2), Unit(32, 64, 3))  # 64 -> 32
        self.body = nn.Sequential(Mixed(64, 96), nn.MaxPool2d(2), Mixed(96, 160), nn.MaxPool2d(2), Mixed(160, DIMS))
        self.head = nn.Linear(DIMS, classes)

    def features(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return self.body(self.stem(2 * images - 1)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
