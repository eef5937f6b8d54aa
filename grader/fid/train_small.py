"""Trains the small Inception on a folder of classes: `python -m grader.fid.train_small data/afhq/train small.pt`.

For trying FID out where no Inception weights can be had, or on images that are far from ImageNet's. Minutes on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from grader.fid.images import NotMeasurable, open_folder, pictures
from grader.fid.small import SIDE, SmallInception
from grader.files import replacing

BATCH = 64
HELD_OUT = 10  # every tenth image is kept for the accuracy


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grader.fid.train_small", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="one subfolder of images a class")
    add("out", type=Path, metavar="OUT", help="the weights file to write, for `fid --weights`")
    add("--epochs", type=int, default=4, metavar="N", help="passes over the images (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of weights and order (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        classes, images, labels = read_classes(options.folder)
    except NotMeasurable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    model = train(images, labels, len(classes), options.epochs, options.seed)
    with replacing(options.out) as draft:
        torch.save({"arch": "small-inception", "classes": classes, "state_dict": model.state_dict()}, draft)
    print(f"wrote {options.out}: {len(images):,} images of {', '.join(classes)}")
    return 0


def read_classes(folder: Path) -> tuple[list[str], Tensor, Tensor]:
    """Names of the classes, images (N, 3, 64, 64) uint8 and labels (N,). Raises NotMeasurable."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(classes) < 2:
        raise NotMeasurable(f"{folder} needs a subfolder of images for each of two or more classes")
    images, labels = [], []
    for label, name in enumerate(classes):
        for picture in pictures(open_folder(folder / name, name)):
            resized = Image.fromarray(picture.pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            images.append(np.asarray(resized))
            labels.append(label)
    return classes, torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)


def train(images: Tensor, labels: Tensor, classes: int, epochs: int, seed: int) -> SmallInception:
    """The network after `epochs` passes with random mirroring; a line on stderr for each."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallInception(classes).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    held, used = order[::HELD_OUT], order[torch.arange(len(order)) % HELD_OUT != 0]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = max(len(used) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=max(epochs * steps, 2))
    for epoch in range(epochs):
        model.train()
        shuffled = used[torch.randperm(len(used), generator=generator)]
        for step in range(steps):
            batch = shuffled[step * BATCH : (step + 1) * BATCH]
            pixels = images[batch].float() / 255  # (B, 3, 64, 64) in [0, 1]
            mirrored = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
            loss = F.cross_entropy(model(torch.where(mirrored, pixels.flip(3), pixels)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(
            f"epoch {epoch + 1} of {epochs}: {_accuracy(model, images[held], labels[held]):.1%} of the held-out "
            "images are told apart",
            file=sys.stderr,
            flush=True,
        )
    return model.eval()


def _accuracy(model: SmallInception, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        right = [model(part.float() / 255).argmax(1) for part in images.split(BATCH)]
    return float((torch.cat(right) == labels).float().mean())


if __name__ == "__main__":
    sys.exit(main())
