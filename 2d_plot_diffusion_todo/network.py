"""A small network that guesses the noise in noisy 2D points.

B is the number of points in a batch, T the number of timesteps. Timesteps are integers t = 0..T-1, and the
code's t=0 is the paper's t=1. Wherever a t is expected here, it is a tensor with one entry per point (B,)
or a single entry, of shape (1,) or (), that all points share.
"""

import math
from itertools import pairwise

import torch
from torch import nn


class TimeEmbedding(nn.Module):
    """Turns a timestep into a vector: sines and cosines of many frequencies, then a small MLP.

    Sines make neighbouring timesteps similar and distant ones different, which a bare number t would not.
    """

    def __init__(self, dim: int, num_timesteps: int):
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim is even, for a sine and a cosine per frequency, not {dim}")
        self.num_timesteps = num_timesteps
        # Periods from about 6 timesteps up to far more than T, evenly spaced on a log scale.
        exponents = torch.arange(dim // 2, dtype=torch.float64) / (dim // 2)
        self.register_buffer("frequencies", torch.exp(-math.log(10_000.0) * exponents).float())
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        angles = t.reshape(-1, 1).to(self.frequencies.dtype) * self.frequencies  # (B, dim/2)
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))  # (B, dim)


class TimeLinear(nn.Module):
    """A linear layer whose output is rescaled and shifted, feature by feature, depending on the timestep.

    layer = TimeLinear(dim_in, dim_out, num_timesteps)
    layer(x, t) maps x (B, dim_in) and t (B,) to (B, dim_out). There is no activation inside.
    """

    def __init__(self, dim_in: int, dim_out: int, num_timesteps: int, dim_time: int = 32):
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)
        self.embedding = TimeEmbedding(dim_time, num_timesteps)
        self.modulation = nn.Linear(dim_time, 2 * dim_out)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(self.embedding(t)).chunk(2, dim=-1)  # (B, dim_out) each
        # 1 + scale: a layer that has learned nothing about t yet is an ordinary linear layer.
        return self.linear(x) * (1 + scale) + shift


class SimpleNet(nn.Module):
    """Predicts the noise in x at timestep t: (B, dim_in), (B,) -> (B, dim_out)."""

    def __init__(self, dim_in: int, dim_out: int, dim_hids: list[int], num_timesteps: int):
        """
        Args:
            dim_in: features of a point; 2 in this lab
            dim_out: features of the predicted noise; 2 in this lab
            dim_hids: width of each hidden layer, for example [128, 128, 128]
            num_timesteps: T, which the time-conditioned layers want to know
        """
        super().__init__()

        ##### TODO task1.simplenet #####
        # Build the layers of the network, and keep them as attributes so that PyTorch finds their parameters.
        # The widths are dim_in -> dim_hids[0] -> ... -> dim_hids[-1] -> dim_out. TimeLinear above is a layer
        # that looks at t; a list of layers belongs in an nn.ModuleList.
        raise NotImplementedError("TODO task1.simplenet")
        ##### END TODO task1.simplenet #####

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: noisy points, (B, dim_in)
            t: timesteps, (B,), or one that all points share, (1,) or (); t=0 is the least noisy of 0..T-1
        Returns:
            predicted noise, (B, dim_out)
        """

        ##### TODO task1.simplenet (forward) #####
        # Send x through the layers, each of which gets t as well, and leave the predicted noise in x.
        # Between layers goes a non-linearity: without one the whole network is a single affine map of x.
        # After the last layer goes none, because noise is any real number, positive or negative.
        raise NotImplementedError("TODO task1.simplenet (forward)")
        ##### END TODO task1.simplenet (forward) #####

        return x
