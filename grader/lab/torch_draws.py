"""PyTorch's CPU generator in numpy: what `torch.randint` and `torch.randn` draw after `manual_seed`.

The judge does not import torch, and does not ask the sandbox what a seed gives. The generator is MT19937; the ways from
its 32-bit words to a draw are those of ATen's CPU kernels (aten/src/ATen/native/cpu/DistributionTemplates.h and
ATen/core/DistributionsHelper.h). Normal draws here are float64, and equal PyTorch's float32 ones to 2e-6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLOCK = 16  # normal draws that PyTorch makes at a time, and the size from which it does


class TorchGenerator:
    """The stream of `torch.Generator().manual_seed(seed)`; as with PyTorch, each draw moves it on."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed % 2**32)  # PyTorch seeds MT19937 by the low 32 bits
        self._spare: float | None = None

    def randint(self, high: int) -> int:
        """`torch.randint(high, (1,))`, for high below 2^28."""
        return int(self._uint32(1)[0]) % high

    def randn(self, *shape: int) -> Array:
        """`torch.randn(shape)` of dtype float32, in float64."""
        size = int(np.prod(shape))
        flat = self._in_blocks(size) if size >= BLOCK else np.array([self._one() for _ in range(size)])
        return flat.reshape(shape)

    def _uint32(self, count: int) -> NDArray[np.uint64]:
        return self._words.randint(0, 2**32, count, dtype=np.uint32).astype(np.uint64)

    def _one(self) -> float:
        """One draw of a small tensor: Box-Muller on two doubles of 53 bits, the second result kept for the next."""
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        words = self._uint32(4)
        u1, u2 = (
            float(((high << np.uint64(32)) | low) & np.uint64(2**53 - 1)) / 2**53
            for high, low in (words[:2], words[2:])
        )
        radius, angle = np.sqrt(-2.0 * np.log1p(-u2)), 2.0 * np.pi * u1
        self._spare = float(radius * np.sin(angle))
        return float(radius * np.cos(angle))

    def _in_blocks(self, size: int) -> Array:
        """A larger tensor: Box-Muller on floats of 24 bits, 16 at a time; the last 16 are drawn again if size asks."""
        flat = self._uniform(size)
        for start in range(0, size - BLOCK + 1, BLOCK):
            flat[start : start + BLOCK] = _box_muller(flat[start : start + BLOCK])
        if size % BLOCK:
            flat[-BLOCK:] = _box_muller(self._uniform(BLOCK))
        return flat

    def _uniform(self, count: int) -> Array:
        return (self._uint32(count) & np.uint64(2**24 - 1)).astype(float) / 2**24


def _box_muller(u: Array) -> Array:
    radius, angle = np.sqrt(-2.0 * np.log(1.0 - u[: BLOCK // 2])), 2.0 * np.pi * u[BLOCK // 2 :]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
