"""Reads a folder of images: which files count, what is in them, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

EXTENSIONS = frozenset({".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})  # pytorch-fid's
# The decoders that a stranger's file may reach: without the list, an EPS in disguise would start Ghostscript.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_SIDE = 4096  # pixels; a PNG of some kilobytes can claim more than memory holds
THUMB = 32  # side of the pictures by which pixels are compared


class NotMeasurable(Exception):
    """The images, or what they are compared with, do not allow a number; the text says what to do."""


@dataclass(frozen=True)
class Folder:
    """The images of a folder in the order of their names, known by content and not decoded yet."""

    path: Path
    files: tuple[Path, ...]
    digests: tuple[str, ...]  # SHA-256 of each file
    left_out: int = 0  # images in subfolders, where the folder itself holds images

    @property
    def digest(self) -> str:
        """Digest of the contents in order; names do not count."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()


@dataclass(frozen=True)
class Picture:
    """One decoded image: pixels (H, W, 3) uint8, the mode that the file had, and what it is compared by."""

    pixels: np.ndarray
    mode: str

    @property
    def thumb(self) -> np.ndarray:
        """(THUMB, THUMB, 3) uint8 by box averaging, which hides a re-encoding or another resize."""
        return np.asarray(Image.fromarray(self.pixels).resize((THUMB, THUMB), Image.Resampling.BOX))

    @property
    def digest(self) -> bytes:
        """32 bytes that depend on size and pixels only, so that a file saved anew is still the same image."""
        return hashlib.sha256(str(self.pixels.shape).encode() + self.pixels.tobytes()).digest()


def open_folder(path: Path, what: str) -> Folder:
    """List the images of the folder `path`, or of its subfolders where it holds none itself (AFHQ's own layout).

    `what` names the folder in messages: "generated" or "reference". Raises NotMeasurable.
    """
    if not path.exists():
        raise NotMeasurable(f"no such folder of {what} images: {path}{_how(what)}")
    if not path.is_dir():
        raise NotMeasurable(f"{path} is a file; a folder of {what} images is needed{_how(what)}")
    everything = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and file.is_file())
    direct = [file for file in everything if file.parent == path]
    files = direct or everything
    if not files:
        raise NotMeasurable(f"no {what} images in {path} (looked for {', '.join(sorted(EXTENSIONS))}){_how(what)}")
    if len(files) < 2:
        raise NotMeasurable(f"only one {what} image in {path}: a covariance needs at least two{_how(what)}")
    digests = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return Folder(path, tuple(files), digests, len(everything) - len(files))


def _how(what: str) -> str:
    if what == "generated":
        return "\ndraw images with: python sampling.py --ckpt_path CKPT --save_dir DIR"
    return "\nprepare the evaluation images with: python dataset.py, in the lab's image half, or give the folder"


def decode(path: Path) -> Picture:
    """Decode one image as pytorch-fid does (`convert("RGB")`). Raises NotMeasurable naming the file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise NotMeasurable(f"{path} is {image.width}x{image.height}; no side may exceed {MAX_SIDE} pixels")
            return Picture(np.array(image.convert("RGB"), dtype=np.uint8), image.mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotMeasurable(
            f"{path} cannot be read as an image: {error}\ndraw or copy this image again, "
            "or take it out of the folder (the count then says so)"
        ) from error


def pictures(folder: Folder) -> Iterator[Picture]:
    """Decode the images of a folder, in order. Raises NotMeasurable at the first broken one."""
    for file in folder.files:
        yield decode(file)
