"""Reads a folder of images: which files count, what is in them, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from grader.files import NotPlain, is_plain, opened

EXTENSIONS = frozenset({".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})  # pytorch-fid's
# The decoders that a stranger's file may reach: without the list, an EPS in disguise would start Ghostscript.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_SIDE = 4096  # pixels; a PNG of some kilobytes can claim more than memory holds
MAX_BYTES = 128 << 20  # of a file
MAX_STRANGERS = 20_000  # images of a folder that somebody handed in
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
    links: bool = True  # whether links to images count as images

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


def open_folder(path: Path, what: str, strangers: bool = False) -> Folder:
    """List the images of the folder `path`, or of its subfolders where it holds none itself (AFHQ's own layout).

    `what` names the folder in messages: "generated" or "reference". In a folder that is a `strangers`, links are no
    images, as they may lead to somebody else's, and there is a most of them. Raises NotMeasurable.
    """
    if not path.exists():
        raise NotMeasurable(f"no such folder of {what} images: {path}{_how(what)}")
    if not path.is_dir():
        raise NotMeasurable(f"{path} is a file; a folder of {what} images is needed{_how(what)}")
    counts = is_plain if strangers else Path.is_file
    everything = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and counts(file))
    direct = [file for file in everything if file.parent == path]
    files = direct or everything
    if not files:
        raise NotMeasurable(f"no {what} images in {path} (looked for {', '.join(sorted(EXTENSIONS))}){_how(what)}")
    if len(files) < 2:
        raise NotMeasurable(f"only one {what} image in {path}: a covariance needs at least two{_how(what)}")
    if strangers and len(files) > MAX_STRANGERS:
        raise NotMeasurable(f"{len(files):,} images in {path}, at most {MAX_STRANGERS:,} are measured: leave some out")
    digests = tuple(_digest(file, not strangers) for file in files)
    return Folder(path, tuple(files), digests, len(everything) - len(files), not strangers)


def _digest(file: Path, links: bool) -> str:
    try:
        with opened(file, MAX_BYTES, links) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except NotPlain as error:
        raise NotMeasurable(
            f"{file} cannot be read as an image: {error.strerror}; take it out of the folder"
        ) from error


def _how(what: str) -> str:
    if what == "generated":
        return "\ndraw images with: python sampling.py --ckpt_path CKPT --save_dir DIR"
    return "\nprepare the evaluation images with: python dataset.py, in the lab's image half, or give the folder"


def decode(path: Path, links: bool = True) -> Picture:
    """Decode one image as pytorch-fid does (`convert("RGB")`). Raises NotMeasurable naming the file."""
    try:
        with opened(path, MAX_BYTES, links) as file, Image.open(file, formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise NotMeasurable(f"{path} is {image.width}x{image.height}; no side may exceed {MAX_SIDE} pixels")
            return Picture(np.array(image.convert("RGB"), dtype=np.uint8), image.mode)
    except (NotMeasurable, MemoryError):
        raise
    except Exception as error:  # of Pillow's decoders, which raise whatever comes to their hand
        why = (isinstance(error, OSError) and error.strerror) or str(error).partition(" <_io.")[0]
        raise NotMeasurable(
            f"{path} cannot be read as an image: {why}\ndraw or copy this image again, "
            "or take it out of the folder (the count then says so)"
        ) from error


def pictures(folder: Folder) -> Iterator[Picture]:
    """Decode the images of a folder, in order. Raises NotMeasurable at the first broken one."""
    for file in folder.files:
        yield decode(file, folder.links)
