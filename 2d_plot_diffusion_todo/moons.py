"""A plain MLP for the two moons, and its training, given: companions.ipynb uses both.

Where network.py tells every layer the time, this network is told once, at its entry: the point and a few sines and
cosines of t go in side by side. For two moons that is enough.
"""

import math

import torch
from torch import nn

NUM_FREQUENCIES = 8
PERIODS = (20.0, 1000.0)  # timesteps; shorter ones make so plain a network slow to learn


def time_features(t: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of t (B,), their periods evenly spaced on a log scale: (B, 2 * NUM_FREQUENCIES)."""
    shortest, longest = PERIODS
    periods = torch.logspace(math.log10(shortest), math.log10(longest), NUM_FREQUENCIES, device=t.device)
    angles = 2 * math.pi * t.reshape(-1, 1) / periods  # (B, NUM_FREQUENCIES)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class MoonsNet(nn.Module):
    """Predicts the noise in points x at timesteps t: (B, 2), (B,) or (1,) -> (B, 2)."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.stack = nn.Sequential(
            nn.Linear(2 + 2 * NUM_FREQUENCIES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        of_time = time_features(t).expand(len(x), -1)  # (B, 2 * NUM_FREQUENCIES)
        return self.stack(torch.cat([x, of_time], dim=1))


def fit(ddpm, points: torch.Tensor, num_steps: int = 3_000, batch_size: int = 256, seed: int = 0) -> list[float]:
    """Trains ddpm.network on points (N, 2) with Adam, the learning rate falling to 0. Returns the loss of each step."""
    adam = torch.optim.Adam(ddpm.network.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, num_steps)
    picker = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(num_steps):
        picks = torch.randint(len(points), (batch_size,), generator=picker)
        loss_now = ddpm.compute_loss(points[picks])
        adam.zero_grad(set_to_none=True)
        loss_now.backward()
        adam.step()
        falling.step()
        losses.append(loss_now.item())
    return losses
