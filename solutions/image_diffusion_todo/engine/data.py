"""The batch of training step n, whenever it is asked for: a run that goes on needs no more than its step number."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from dataset import default_folder, folder_files

from engine import plain
from engine.fast import Plan
from engine.images import to_network


class Shuffled:
    """An endless stream of image numbers, in another random order in each epoch.

    The order is a function of seed and epoch alone, so that a resumed run needs no more than its step number.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int, device: torch.device | str = "cpu"):
        self.num_images, self.batch_size, self.seed, self.device = num_images, batch_size, seed, device
        self.orders: dict[int, torch.Tensor] = {}  # epoch -> (num_images,)

    def batch(self, step: int) -> torch.Tensor:
        """The numbers (batch_size,) of the images of training step `step`, on the device."""
        first = step * self.batch_size
        epoch, start = divmod(first, self.num_images)
        pieces = [self.order(epoch)[start : start + self.batch_size]]
        while (have := sum(map(len, pieces))) < self.batch_size:  # the batch reaches into the next epoch
            epoch += 1
            pieces.append(self.order(epoch)[: self.batch_size - have])
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def order(self, epoch: int) -> torch.Tensor:
        if epoch not in self.orders:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**32)
            self.orders = {old: order for old, order in self.orders.items() if old == epoch - 1}
            # One copy to the GPU an epoch; a copy a step would make the GPU wait.
            self.orders[epoch] = torch.randperm(self.num_images, generator=generator).to(self.device)
        return self.orders[epoch]


class OnDevice:
    """Images uint8 (N, C, H, W) and labels (N,), or None, kept on the device."""

    def __init__(self, images: torch.Tensor, options, device: torch.device, labels=None, drop: Callable | None = None):
        """options has batch_size and seed; drop(label) takes some of a batch's labels away."""
        self.images, self.labels, self.drop = images.to(device), None if labels is None else labels.to(device), drop
        self.order = Shuffled(len(images), options.batch_size, options.seed, device)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x0 (B, C, H, W) in [-1, 1], and label (B,) or None."""
        chosen = self.order.batch(step)
        label = None if self.labels is None else self.drop(self.labels[chosen])
        return to_network(self.images[chosen]), label


class Decoded:
    """Images read from files, or from an array, when their batch comes; steps are asked for one after another."""

    def __init__(self, source, image_size: int, options, device: torch.device):
        """source as for plain.Images; options has batch_size, seed and workers."""
        self.source, self.image_size, self.options, self.device = source, image_size, options, device
        self.batches = None

    def batch(self, step: int) -> tuple[torch.Tensor, None]:
        """x0 (B, 3, H, W) in [-1, 1], and None."""
        if self.batches is None:
            order = Shuffled(len(self.source), self.options.batch_size, self.options.seed)
            numbers = (order.batch(later).tolist() for later in count(step))
            self.batches = iter(plain.loader(self.source, self.image_size, numbers, self.options.workers))
        return next(self.batches).to(self.device), None


def batches(images: torch.Tensor, options, plan: Plan, labels=None, drop: Callable | None = None) -> OnDevice | Decoded:
    """The batches of a run of train.py: of the images on the device, or with --plain of the files they came from."""
    if not plan.plain:
        return OnDevice(images, options, plan.device, labels, drop)
    source = images
    if options.dataset == "afhq":
        folder = Path(options.data_dir or default_folder("afhq"))
        source = folder_files(folder, "train", options.max_num_images_per_cat)
    return Decoded(source, options.image_size, options, plan.device)
