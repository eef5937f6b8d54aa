"""Finds the results folders of `train.py` and the drawn images among a student's files, and says what is missing.

Everything here is a stranger's: links are not followed, files and numbers have limits, and nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.fid.images import EXTENSIONS, NotMeasurable, decode
from grader.files import is_plain, read_plain

MODES = ("linear", "quad", "cosine")
PREDICTORS = ("noise", "x0", "mean")
SAMPLES = 8  # of each run
GAP = 2  # white pixels between the images of trajectory.png
MOST_FILES = 100_000  # that are looked through
MOST_RUNS = 40  # results folders that are opened
MOST_JSON, MOST_LOSSES = 1 << 16, 32 << 20  # bytes; a loss.csv of a million steps has 25 million
MOST_CHECKPOINT = 4 << 30  # bytes
MOST_STEPS = 1_000_000  # of a training, to be drawn
MOST_T, MOST_SIZE = 100_000, 1024  # timesteps, pixels of a side
CLOSE = 2  # grey levels of 255 by which a strip's last image may differ from the sample

Pixels = NDArray[np.uint8]


class Incomplete(Exception):
    """A results folder that does not hold what a run leaves; the text says what is missing."""


@dataclass(frozen=True)
class Run:
    """A complete results folder; `name` is its path below the student's folder."""

    folder: Path
    name: str
    mode: str
    predictor: str
    size: int
    T: int
    step: int
    config: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"

    def samples(self) -> list[Pixels]:
        """The 8 samples of the last step, (H, W, 3) each. Raises Incomplete."""
        return [read_image(self.folder / f"step={self.step}-{k}.png") for k in range(SAMPLES)]

    def strip(self) -> Pixels:
        """The trajectory strip: rows are images, from noise on the left to the sample on the right."""
        return read_image(self.folder / "trajectory.png")


def folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """(folder, names of its regular files) below `root`, sorted, links left out."""
    seen = 0
    for here, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not os.path.islink(os.path.join(here, name)))
        regular = [name for name in sorted(files) if is_plain(Path(here, name))]
        seen += len(files)
        if seen > MOST_FILES:
            return
        yield Path(here), regular


def find_runs(root: Path) -> tuple[list[Run], list[str]]:
    """The complete results folders below `root`, oldest first, and a remark for each that is not."""
    runs: list[Run] = []
    remarks: list[str] = []
    for folder, files in folders(root):
        if "config.json" not in files or not ({"last.ckpt", "loss.csv"} & set(files)):
            continue
        if len(runs) + len(remarks) >= MOST_RUNS:
            remarks.append(f"more than {MOST_RUNS} results folders: the others were not opened")
            break
        try:
            runs.append(read_run(folder, folder.relative_to(root).as_posix()))
        except Incomplete as error:
            remarks.append(f"{folder.relative_to(root).as_posix()}: {error}")
    return sorted(runs, key=lambda run: (run.folder.stat().st_mtime, run.name)), remarks


def find_images(root: Path) -> Path | None:
    """The folder with the most images that is not a results folder: what sampling.py wrote."""
    best, most = None, 1
    for folder, files in folders(root):
        images = sum(Path(name).suffix.lower() in EXTENSIONS for name in files)
        if images > most and "config.json" not in files:
            best, most = folder, images
    return best


def read_run(folder: Path, name: str) -> Run:
    """A results folder, every file of it opened but the checkpoint. Raises Incomplete."""
    config = read_json(folder / "config.json")
    try:
        scheduler, network = config["scheduler"], config["network"]
        run = Run(
            folder,
            name,
            scheduler["mode"],
            config["predictor"],
            _count(network["image_resolution"], "image_resolution", MOST_SIZE),
            _count(scheduler["num_train_timesteps"], "num_train_timesteps", MOST_T),
            last_step(folder),
            config,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Incomplete(f"config.json is not train.py's ({type(error).__name__}: {str(error)[:200]})") from error
    if not (isinstance(run.mode, str) and run.mode in MODES) or not (
        isinstance(run.predictor, str) and run.predictor in PREDICTORS
    ):
        raise Incomplete("config.json names a schedule or a predictor that the lab does not know")
    if not is_plain(folder / "last.ckpt"):
        raise Incomplete("no last.ckpt: the run was stopped before its first checkpoint")
    if run.checkpoint.stat().st_size > MOST_CHECKPOINT:
        raise Incomplete(f"last.ckpt is larger than {MOST_CHECKPOINT >> 30} GiB")
    read_losses(folder / "loss.csv")
    check_pictures(run)
    return run


def _count(value: Any, name: str, most: int) -> int:
    """A whole number of 1 to `most`, as the sizes are by which memory is taken. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or not 1 <= value <= most:
        raise ValueError(f"{name} is not a whole number from 1 to {most:,}")
    return int(value)


def text_of(path: Path, most: int) -> str:
    """The text of a plain file. Raises Incomplete."""
    if not is_plain(path):
        raise Incomplete(f"no {path.name}")
    try:
        return read_plain(path, most).decode("utf-8")
    except OSError as error:
        raise Incomplete(f"{path.name} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise Incomplete(f"{path.name} cannot be read ({type(error).__name__})") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; it may not hold Infinity and NaN, which are no JSON. Raises Incomplete."""
    text = text_of(path, MOST_JSON)
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Incomplete(f"{path.name} cannot be read ({type(error).__name__})") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def last_step(folder: Path) -> int:
    found = [re.fullmatch(r"step=(\d{1,9})-0\.png", name) for name in os.listdir(folder)]
    steps = [int(match[1]) for match in found if match]
    if not steps:
        raise Incomplete("no samples (step=N-0.png): the run was stopped before its end; go on with train.py --resume")
    return max(steps)


def read_losses(path: Path) -> NDArray[np.float64]:
    """The loss of every step (n,). Raises Incomplete for a file that is not one, or a loss that is not finite."""
    try:
        lines = io.StringIO(text_of(path, MOST_LOSSES))
        losses = np.loadtxt(lines, delimiter=",", skiprows=1, usecols=1, ndmin=1, dtype=np.float64, max_rows=MOST_STEPS)
    except (ValueError, IndexError) as error:
        raise Incomplete(f"{path.name} cannot be read ({type(error).__name__})") from error
    if not len(losses) or not np.isfinite(losses).all():
        raise Incomplete(f"{path.name} is empty or holds a loss that is not finite")
    return losses


def read_image(path: Path) -> Pixels:
    if not is_plain(path):
        raise Incomplete(f"no {path.name}")
    try:
        return decode(path, links=False).pixels
    except NotMeasurable as error:
        raise Incomplete(f"{path.name} cannot be read as an image: copy it again") from error


def check_pictures(run: Run) -> None:
    """8 samples of the right size, and a strip whose right-most column they are. Raises Incomplete."""
    samples, strip, size = run.samples(), run.strip(), run.size
    odd = [k for k, sample in enumerate(samples) if sample.shape != (size, size, 3)]
    if odd:
        raise Incomplete(f"step={run.step}-{odd[0]}.png is not {size}x{size}")
    if strip.shape[0] < size or strip.shape[1] < 2 * size + GAP:
        raise Incomplete(f"trajectory.png is no strip of {size}x{size} images")
    for k, sample in enumerate(samples):
        top = k * (size + GAP)
        last = strip[top : top + size, -size:]
        if last.shape == sample.shape and np.abs(last.astype(int) - sample.astype(int)).max() > CLOSE:
            raise Incomplete(
                f"trajectory.png does not end where step={run.step}-{k}.png is: they are of different steps or runs"
            )
