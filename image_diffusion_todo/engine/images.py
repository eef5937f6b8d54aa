"""Image files: finding, reading, resizing and writing them, the same way wherever the lab does it.

An image inside the lab is a uint8 array (3, S, S), RGB, 0..255; the network sees [-1, 1].
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}

# Written next to whatever was made with it, because an FID depends on it. Pillow widens the filter by the
# scale factor, which is what "antialiased" means; without that, a small image is a sample of single pixels.
RESIZE = "centre crop to a square, then Pillow bicubic (antialiased)"


def image_files(folder: Path) -> list[Path]:
    """The images directly in `folder`, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def to_square(image: Image.Image, size: int) -> np.ndarray:
    """An image of any mode and shape as uint8 (3, size, size)."""
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about palettes with transparency otherwise
    rgb = image.convert("RGB")  # grey images get three equal channels
    if rgb.size != (size, size):
        rgb = ImageOps.fit(rgb, (size, size), method=Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def read_image(path: Path, size: int) -> np.ndarray:
    """The image file as uint8 (3, size, size). Raises OSError where it is broken."""
    try:
        with Image.open(path) as image:
            return to_square(image, size)
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:  # of some broken PNGs
        raise OSError(f"{error}") from error


def for_each(work: Callable, items: Iterable, title: str) -> list[tuple[int, OSError]]:
    """work(i, item) for all items, on several threads and with a progress bar; which items were broken."""
    items = list(items)

    def attempt(i: int) -> OSError | None:
        try:
            work(i, items[i])
        except OSError as error:
            return error
        return None

    with ThreadPoolExecutor() as threads:  # Pillow decodes and resizes outside Python's lock
        done = tqdm(threads.map(attempt, range(len(items))), title, len(items), unit="img", leave=False)
        return [(i, error) for i, error in enumerate(done) if error is not None]


def to_network(images: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float32 [-1, 1]."""
    return images.float() / 127.5 - 1


def to_pixels(x: torch.Tensor) -> torch.Tensor:
    """float [-1, 1] (values outside are clipped) -> uint8 0..255, on the CPU."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """write(file) under another name, which is then changed: a reader finds the whole file or the one before."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # a full disk is noticed here, not after the old file is gone
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save_image(pixels: torch.Tensor | np.ndarray, path: Path) -> None:
    """uint8 (3, H, W), or (1, H, W) for a grey image, as an RGB PNG."""
    pixels = np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))  # (H, W, 3)
    write_atomically(path, lambda file: image.save(file, format="PNG"))


def strip(frames: list[torch.Tensor], gap: int = 2) -> torch.Tensor:
    """Rows of images, list over columns of uint8 (B, C, H, W) -> one image (C, B*(H+gap), N*(W+gap))."""
    pad = torch.nn.functional.pad
    columns = [pad(frame, (0, gap, 0, gap), value=255) for frame in frames]  # white lines in between
    columns = [frame.transpose(0, 1).flatten(1, 2) for frame in columns]  # (C, B*(H+gap), W+gap)
    return torch.cat(columns, dim=2)[:, :-gap, :-gap]


def grid(images: torch.Tensor, columns: int = 8) -> torch.Tensor:
    """uint8 (N, C, H, W), row by row -> one image with so many columns; what does not fill a row is left out."""
    rows = images[: len(images) // columns * columns].unflatten(0, (-1, columns))  # (N / columns, columns, C, H, W)
    return strip(list(rows.unbind(1)))
