"""Turns images into features, with whichever network the weights file holds. Images only: no student code runs here."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from grader.errors import UsageError
from grader.fid.weights import find_weights, load_weights, sha256

RECIPE = 1  # raised whenever the way from pixels to features changes, so that older caches are not taken up
RESIZE = {
    "inception-v3": "to 299x299 by the extractor (bilinear, no antialiasing, as pytorch-fid), values to [-1, 1]",
    "small-inception": "to 64x64 by the extractor where need be (bilinear, antialiased), values to [-1, 1]",
}


@dataclass(frozen=True)
class Description:
    """What made the features: enough to compare two FIDs, or to find out why they differ."""

    name: str
    dims: int
    resize: str
    weights: str
    sha256: str

    def to_dict(self) -> dict[str, str | int]:
        return asdict(self)


@dataclass
class Extractor:
    """Features of images. The network is loaded on first use: a run that finds all features cached needs no torch."""

    weights: Path
    digest: str
    device: str
    batch_size: int
    _network: Callable | None = field(default=None, repr=False)
    _name: str = ""

    @classmethod
    def open(cls, weights: Path | None, device: str = "cpu", batch_size: int = 32) -> Extractor:
        """The extractor of a weights file, or of pytorch-fid's for None. Raises UsageError."""
        file = find_weights(weights)
        return cls(file, sha256(file), device, batch_size)

    @property
    def key(self) -> str:
        """Names everything that features depend on besides the images."""
        return f"{RECIPE}-{self.device}-{self.digest}"

    def describe(self, name: str, dims: int) -> Description:
        """The description of features (N, dims) that the architecture `name` made, perhaps in an earlier run."""
        return Description(name, dims, RESIZE[name], self.weights.name, self.digest)

    def features(self, images: Iterable[np.ndarray], report: Callable[[int], None]) -> tuple[str, np.ndarray]:
        """(architecture, features (N, D) float32) of images (H, W, 3) uint8; `report` is told how many are done."""
        # Huge pages, where PyTorch has made no large tensor yet: it looks at this once, at the first.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        import torch

        network = self._load()
        found = []
        with torch.inference_mode(), memory_kept():
            for batch in _batches(images, self.batch_size):
                pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2)  # (B, 3, H, W)
                found.append(network(pixels.float() / 255).cpu().numpy())
                report(sum(map(len, found)))
        features = np.concatenate(found)
        if not np.isfinite(features).all():
            raise UsageError(f"{self.weights}: these weights give features that are not finite numbers")
        return self._name, features

    def _load(self) -> Callable:
        import torch

        if self._network is None:
            if self.device.startswith("cuda"):
                if not torch.cuda.is_available():
                    raise UsageError(f"--device {self.device}: torch finds no GPU here; leave the option out")
                torch.backends.cudnn.allow_tf32 = False  # its 10-bit products move an FID in the third digit
            self._name, state = load_weights(self.weights)
            self._network = _build(self._name, state, torch.device(self.device), self.weights)
        return self._network


def _build(name: str, state: dict, device, file: Path) -> Callable:  # type: ignore[no-untyped-def]
    if name == "inception-v3":
        from grader.fid.inception import Inception

        return Inception(state, device)
    import torch

    from grader.fid.small import SmallInception

    model = SmallInception(len(state.get("head.bias", (0, 0, 0))))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"{file} does not fit small-inception: {str(error).splitlines()[-1].strip()}") from error
    return model.eval().to(device).to(memory_format=torch.channels_last).features


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, memory that is freed stays with the process; afterwards it is given back to the system.

    By default glibc gives large blocks back at once, and every page of a new one is a fault, which Inception on a CPU
    would wait for. Other C libraries are left as they are.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    trim_threshold, mmap_max = -1, -4  # as in malloc.h, with glibc's defaults below
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(mmap_max, 65536)
        libc.mallopt(trim_threshold, 128 * 1024)
        libc.malloc_trim(0)


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Consecutive images of one shape, stacked to (B, H, W, 3), at most `size` at a time."""
    for _, alike in groupby(images, key=lambda image: image.shape):
        batch: list[np.ndarray] = []
        for image in alike:
            batch.append(image)
            if len(batch) == size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)


def progress(what: str, total: int) -> Callable[[int], None]:
    """A report that keeps one line on a terminal's stderr up to date, and says nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda done: None

    def report(done: int) -> None:
        print(f"\r{what}: {done} of {total}", end="\n" if done >= total else "", file=sys.stderr, flush=True)

    return report
