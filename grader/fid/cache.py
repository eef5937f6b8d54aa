"""Keeps what was measured of a folder, by content: the images' own digests and the extractor's. Pickle-free, atomic."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from grader.fid.extractor import Extractor, progress
from grader.fid.images import Folder, Picture, pictures
from grader.files import replacing

KEEP_BYTES = 2 << 30  # older entries make room


@dataclass(frozen=True)
class Measured:
    """Everything that the images of a folder are judged by, N in the order of the folder."""

    name: np.ndarray  # (), the extractor's architecture
    features: np.ndarray  # (N, D) float32
    thumbs: np.ndarray  # (N, 32, 32, 3) uint8
    digests: np.ndarray  # (N, 32) uint8, of the pixels
    sizes: np.ndarray  # (N, 2), width and height
    modes: np.ndarray  # (N,), such as "RGB"


def default_cache() -> Path:
    """Where measured folders are kept unless told otherwise: $XDG_CACHE_HOME/ddpm-grader/fid."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm-grader" / "fid"


def measured(folder: Folder, extractor: Extractor, cache: Path, what: str) -> Measured:
    """Measure a folder, or take what an earlier run found in the same images with the same extractor."""
    key = hashlib.sha256(f"{folder.digest} {extractor.key}".encode()).hexdigest()[:32]
    file = cache / f"{key}.npz"
    known = _read(file, len(folder.files))
    if known is None:
        known = _measure(folder, extractor, what)
        _write(file, known)
    return known


def _measure(folder: Folder, extractor: Extractor, what: str) -> Measured:
    seen: list[tuple[np.ndarray, bytes, tuple[int, int], str]] = []

    def pixels(picture: Picture) -> np.ndarray:
        height, width = picture.pixels.shape[:2]
        seen.append((picture.thumb, picture.digest, (width, height), picture.mode))
        return picture.pixels

    name, features = extractor.features(map(pixels, pictures(folder)), progress(f"{what} images", len(folder.files)))
    thumbs, digests, sizes, modes = zip(*seen, strict=True)
    return Measured(
        np.array(name),
        features,
        np.stack(thumbs),
        np.stack([np.frombuffer(d, np.uint8) for d in digests]),
        np.array(sizes),
        np.array(modes),
    )


def _read(file: Path, count: int) -> Measured | None:
    """The entry, or None where there is none or it is damaged: it is then measured anew."""
    try:
        # opened here, as numpy leaves a damaged file open
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as entry:
            known = Measured(**{field.name: entry[field.name] for field in fields(Measured)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if known.features.ndim != 2 or any(len(getattr(known, field.name)) != count for field in fields(Measured)[1:]):
        return None
    return known


def _write(file: Path, entry: Measured) -> None:
    """Keep an entry. A cache that cannot be written costs time, not the result."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as draft, open(draft, "wb") as out:
            np.savez(out, **{field.name: getattr(entry, field.name) for field in fields(Measured)})
        _prune(file.parent)
    except OSError as error:
        print(
            f"warning: nothing is kept for the next run: {file.parent} cannot be written ({error.strerror})",
            file=sys.stderr,
        )


def _prune(folder: Path) -> None:
    """Remove the oldest entries until the rest fit into KEEP_BYTES."""
    kept = 0
    for file in sorted(folder.glob("*.npz"), key=lambda entry: entry.stat().st_mtime, reverse=True):
        kept += file.stat().st_size
        if kept > KEEP_BYTES:
            file.unlink(missing_ok=True)
