"""Chamfer distance between two sets of points: how far is the generated set from the real one, and back."""

import torch


def chamfer_distance(points: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Every point's squared distance to the nearest point of the other set, summed over both sets.

    Args:
        points: (N, D)
        reference: (M, D)
    Returns:
        a scalar, in squared units of the points; it grows with N and M, so compare equal numbers of points
        only
    """
    # Differences rather than |a|^2 + |b|^2 - 2ab, which loses small distances to rounding.
    squared = (points.unsqueeze(1) - reference.unsqueeze(0)).square().sum(dim=-1)  # (N, M)
    # One direction alone is fooled: few good points lie close to the data, many scattered ones cover it.
    return squared.min(dim=1).values.sum() + squared.min(dim=0).values.sum()
