"""What a textbook does, and fast.py and data.py do not: the yardstick of benchmark.py, and `train.py --plain`.

Float32 throughout; a data loader that decodes and resizes every JPEG each time; attention by two batched products;
PyTorch's own Adam; the loss fetched after every step.
"""

import math
import os

import torch
from module import AttentionBlock
from torch import nn

from engine.images import read_image, to_network


def attention_by_products(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """As module.attention, with the N x N weights written out: (B, N, C) each -> (B, N, C)."""
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1]), dim=-1)  # (B, N, N)
    return torch.bmm(weights, v)


def use_plain_attention(network: nn.Module) -> None:
    for block in network.modules():
        if isinstance(block, AttentionBlock):
            block.attend = attention_by_products


class Images(torch.utils.data.Dataset):
    """Image i, float32 (3, S, S) in [-1, 1]: read from its file, or taken from an array if it has none."""

    def __init__(self, source, image_size: int):
        """source: list of paths, or uint8 (N, 3, S, S)."""
        self.source, self.image_size = source, image_size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> torch.Tensor:
        if isinstance(self.source, torch.Tensor):
            return to_network(self.source[i])
        return to_network(torch.from_numpy(read_image(self.source[i], self.image_size).copy()))


def loader(source, image_size: int, numbers, workers: int | None):
    """Batches (B, 3, S, S), read by several processes; numbers: an iterable of the images' numbers, batch by batch."""
    return torch.utils.data.DataLoader(
        Images(source, image_size),
        batch_sampler=numbers,
        num_workers=min(4, os.cpu_count() or 1) if workers is None else workers,
        generator=torch.Generator().manual_seed(0),  # its own, or it would draw from the noise's
    )
