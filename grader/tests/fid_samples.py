"""Small images and small weights for the tests of FID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from grader.fid.benchmark import make_images
from grader.fid.small import SmallInception

__all__ = ["make_images", "save_pixels", "small_weights"]


def small_weights(path: Path, seed: int = 0) -> Path:
    """A file of the small Inception with random weights; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallInception().eval()
    torch.save({"arch": "small-inception", "classes": ["cat", "dog", "wild"], "state_dict": model.state_dict()}, path)
    return path


def save_pixels(folder: Path, images: np.ndarray, suffix: str = "png") -> Path:
    """Write images (N, H, W, 3) or (N, H, W) uint8 as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{i:05}.{suffix}")
    return folder
