"""The straightforward way to train and sample, kept as the yardstick for fast.py: `train.py --plain`.

Float32 throughout; a data loader that decodes and resizes every JPEG each time; attention by two batched products;
Adam one tensor at a time; the loss fetched after every step; the whole trajectory copied to the CPU.
"""

import math
import os

import torch
from dataset import Shuffled
from images import read_image, to_network
from model import DiffusionModule
from module import AttentionBlock
from torch import nn


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


class PlainTrainer:
    """The plain training loop's state, with the interface of FastTrainer."""

    def __init__(self, module: DiffusionModule, source, options, first_step: int = 0):
        """source as for Images; options has batch_size, lr, warmup_steps, seed, ema and workers."""
        self.module, self.options = module, options
        use_plain_attention(module.network)
        self.adam = torch.optim.Adam(module.network.parameters(), lr=options.lr, foreach=False, fused=False)
        order = Shuffled(len(source), options.batch_size, options.seed)
        self.loader = iter(
            torch.utils.data.DataLoader(
                Images(source, module.image_resolution),
                batch_sampler=Batches(order, first_step),
                num_workers=min(4, os.cpu_count() or 1) if options.workers is None else options.workers,
                generator=torch.Generator().manual_seed(0),  # its own, or it would draw from the noise's
            )
        )
        self.losses: list[float] = []

    def step(self, step: int) -> None:
        x0 = next(self.loader).to(self.module.device)
        for group in self.adam.param_groups:
            group["lr"] = self.options.lr * min(1.0, (step + 1) / max(1, self.options.warmup_steps))
        self.adam.zero_grad()
        loss = self.module.get_loss(x0)
        loss.backward()
        self.adam.step()
        self.losses.append(loss.item())

    def take_losses(self) -> list[float]:
        losses, self.losses = self.losses, []
        return losses

    def state(self) -> dict:
        return {"optimizer": self.adam.state_dict()}

    def restore(self, contents: dict) -> None:
        self.adam.load_state_dict(contents["optimizer"])


class Batches:
    """A batch sampler: the numbers of the images of one step after another, without an end."""

    def __init__(self, order: Shuffled, first_step: int):
        self.order, self.step = order, first_step

    def __iter__(self):
        while True:
            yield self.order.batch(self.step).tolist()
            self.step += 1


def sample(module: DiffusionModule, batch_size: int) -> torch.Tensor:
    """x_0 (batch_size, 3, H, W) by DiffusionModule.sample, which copies every x_t to the CPU."""
    use_plain_attention(module.network)
    return module.sample(batch_size, return_traj=True)[-1]
