"""Building blocks of the U-Net in network.py.

B images, C channels, H x W pixels, E features of the time embedding.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(C)) v over N positions: (B, N, C) each -> (B, N, C)."""
    return F.scaled_dot_product_attention(q, k, v)


def scaled_down(layer: nn.Conv2d) -> nn.Conv2d:
    """`layer` with weights near zero: a residual branch that ends in it starts as (almost) the identity."""
    nn.init.xavier_uniform_(layer.weight, gain=1e-5)
    nn.init.zeros_(layer.bias)
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, fewer in a narrow network: a group of one channel would take that channel's mean away, and with it
    the colour of the whole image, which a network that predicts noise then cannot keep."""
    return nn.GroupNorm(math.gcd(32, channels // 4), channels)


class TimeEmbedding(nn.Module):
    """t (B,) -> (B, E): sines and cosines of many frequencies, then a small MLP."""

    def __init__(self, dim_sines: int, dim_out: int):
        super().__init__()
        self.dim_sines = dim_sines
        self.mlp = nn.Sequential(nn.Linear(dim_sines, dim_out), nn.SiLU(), nn.Linear(dim_out, dim_out))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        half = self.dim_sines // 2
        exponents = torch.arange(half, device=t.device, dtype=torch.float32) / half
        angles = t.float().unsqueeze(-1) * torch.exp(-math.log(10_000.0) * exponents)  # (B, half)
        sines = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.mlp(sines.to(self.mlp[0].weight.dtype))


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, H/2, W/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """(B, C, H, W) -> (B, C, 2H, 2W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Nearest pixels and then a convolution: a transposed one leaves a checkerboard pattern.
        # Repeating does what interpolate(mode="nearest") does, for which autocast on a CPU goes to float32 and back.
        return self.conv(x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=2))


class AttentionBlock(nn.Module):
    """Every pixel looks at every other one; (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.out = scaled_down(nn.Conv2d(channels, channels, kernel_size=1))
        self.attend = attention  # engine/plain.py puts two products in its place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H*W, 3C)
        h = self.attend(*pixels.chunk(3, dim=-1))  # (B, H*W, C)
        return x + self.out(h.transpose(1, 2).reshape(x.shape))


class ResBlock(nn.Module):
    """Two convolutions around a residual connection, told the time in between; C_in -> C_out channels."""

    def __init__(self, channels_in: int, channels_out: int, dim_time: int, dropout: float, attention: bool):
        super().__init__()
        self.before = nn.Sequential(
            group_norm(channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels_out, 3, padding=1)
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(dim_time, channels_out))
        self.after = nn.Sequential(
            group_norm(channels_out),
            nn.SiLU(),
            nn.Dropout(dropout),
            scaled_down(nn.Conv2d(channels_out, channels_out, 3, padding=1)),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)
        self.attention = AttentionBlock(channels_out) if attention else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.before(x) + self.time(time)[:, :, None, None]  # (B, C_out, H, W)
        h = self.after(h) + self.shortcut(x)
        return self.attention(h)
