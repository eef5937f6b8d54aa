"""Draws images for an FID in the sandbox: from a handed-in checkpoint, or from a model that is trained there first."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from grader.fid.extractor import progress
from grader.fid.images import open_folder, pictures
from grader.lab import LAB
from grader.lab.images.request import PATIENCE, SLACK_S
from grader.lab.images.results import Pixels
from grader.lab.policy import DdpmPolicy
from grader.policy import Limits
from grader.records import Verdict
from grader.sandbox import Answer, ProbeFailure, Sandbox, SandboxKind

HALF = "task2"
CHUNK_S = 20.0  # of training between two lines of progress
THREADS = 1024  # a GPU's libraries start many
MOST_PIXELS = 2 << 30  # values of all training images together


class NotDrawn(Exception):
    """No images came out; the text says why, and what to do."""


@dataclass(frozen=True)
class Machine:
    """Where student code runs, and how long it may take: the same for every submission of a run."""

    kind: SandboxKind
    gpu: bool
    policy: DdpmPolicy

    def limits(self, seconds: float) -> Limits:
        """The worker's limits for work on images, which takes more of everything than a check of code."""
        runs = self.policy.image_runs
        cpu = int(2 * (os.cpu_count() or 1) * (seconds + SLACK_S))
        return self.policy.limits.model_copy(
            update={
                "submission_s": seconds + SLACK_S,
                "wall_s": PATIENCE * (seconds + SLACK_S),
                "cpu_s": cpu,
                "memory_mib": runs.memory_mib,
                "total_memory_mib": runs.memory_mib,
                "answer_mib": runs.answer_mib,
                "import_s": SLACK_S,
                "processes": THREADS,
            }
        )

    @contextmanager
    def sandbox(self, code: Path, files: dict[str, Path], seconds: float, scratch: Path) -> Iterator[Sandbox]:
        """A sandbox over a copy of the image half, with `files` put into it under the names given."""
        root = scratch / "images"
        shutil.copytree(code, root / HALF, symlinks=True)
        for name, file in files.items():
            target = root / HALF / name
            target.unlink(missing_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o644)
        for folder in (root, root / HALF):
            folder.chmod(0o755)
        try:
            with Sandbox(root, {HALF: HALF}, self.limits(seconds), LAB.material, self.kind, self.gpu) as sandbox:
                yield sandbox
        finally:
            shutil.rmtree(root, ignore_errors=True)


def draw_from_checkpoint(machine: Machine, code: Path, checkpoint: Path, seed: int, scratch: Path) -> Path:
    """As many images as the policy asks for, drawn by the submitted code from its checkpoint: a folder of PNGs."""
    seconds = machine.policy.image_runs.sampling_s
    with _told(), machine.sandbox(code, {"grader-checkpoint.ckpt": checkpoint}, seconds, scratch) as sandbox:

        def reopen() -> Answer:
            return sandbox.call(HALF, "open_checkpoint", {"path": "grader-checkpoint.ckpt"}, timeout_s=SLACK_S)

        if problem := str(reopen().data.get("problem", "")):
            raise NotDrawn(f"{checkpoint.name} {problem}")
        return _draw(sandbox, machine.policy, seconds, seed, scratch / "drawn", reopen)


def retrain(
    machine: Machine, code: Path, config: dict[str, Any], data: Path, budget_s: float, seed: int, scratch: Path
) -> tuple[Path, NDArray[np.float64]]:
    """Train the submitted code for `budget_s` seconds and draw from it in a process that has not seen the data.

    `config` names network, schedule and predictor as a checkpoint does. Returns the folder of PNGs and the losses.
    """
    runs = machine.policy.image_runs
    images = scratch / "grader-train.npy"
    np.save(images, training_images(data, int(config["network"]["image_resolution"])))
    files = {"grader-train.npy": images}
    how = {
        "config": config,
        "images": "grader-train.npy",
        "lr": runs.lr,
        "batch": runs.batch,
        "warmup": runs.warmup,
        "ema": runs.ema,
        "seed": seed,
    }
    with _told():
        with machine.sandbox(code, files, budget_s + runs.sampling_s, scratch) as sandbox:
            sandbox.call(HALF, "begin_training", how, timeout_s=SLACK_S)
            losses = _train(sandbox, budget_s, runs.steps)
            weights = sandbox.call(HALF, "trained_weights", timeout_s=SLACK_S).arrays
        with machine.sandbox(code, {}, runs.sampling_s, scratch) as sandbox:

            def reopen() -> Answer:
                return sandbox.call(HALF, "open_weights", {"config": config}, weights, SLACK_S)

            reopen()
            return _draw(sandbox, machine.policy, runs.sampling_s, seed, scratch / "drawn", reopen), losses


@contextmanager
def _told() -> Iterator[None]:
    """What the submission's code did wrong, in the words of a NotDrawn."""
    try:
        yield
    except ProbeFailure as failure:
        where = f" at {failure.where}" if failure.where else ""
        text = f"the submitted code did not get there: {failure.verdict}: {failure.message}{where}"
        raise NotDrawn(text) from failure


def _train(sandbox: Sandbox, budget_s: float, steps: int) -> NDArray[np.float64]:
    losses: list[NDArray[np.float64]] = []
    began = time.monotonic()
    while (left := budget_s - (time.monotonic() - began)) > 0:
        how = {"seconds": min(CHUNK_S, left), "steps": steps}
        answer = sandbox.call(HALF, "go_on_training", how, timeout_s=CHUNK_S + SLACK_S)
        chunk = answer.arrays["losses"].astype(np.float64)
        if not len(chunk):
            break
        losses.append(chunk)
        print(
            f"retraining: step {sum(map(len, losses)):,}, loss {chunk.mean():.4f}, {max(0.0, left):.0f} s left",
            file=sys.stderr,
            flush=True,
        )
    return np.concatenate(losses) if losses else np.empty(0)


def _draw(
    sandbox: Sandbox, policy: DdpmPolicy, seconds: float, seed: int, folder: Path, reopen: Callable[[], Answer]
) -> Path:
    """Images in batches, each under a seed of its own; the batch is halved where memory does not suffice."""
    folder.mkdir()
    tell = progress("drawn images", policy.fid.images)
    batch, done, began = policy.image_runs.drawn_at_once, 0, time.monotonic()
    while done < policy.fid.images:
        count = min(batch, policy.fid.images - done)
        left = seconds - (time.monotonic() - began)
        late = NotDrawn(
            f"{done} of {policy.fid.images} images were drawn within the {seconds:g} s of the policy "
            "(image_runs.sampling_s): allow more, or use a GPU (--gpu)"
        )
        if left <= 0:
            raise late
        try:
            images = sandbox.call(HALF, "draw_images", {"count": count, "seed": seed + done}, timeout_s=left)
        except ProbeFailure as failure:
            if failure.verdict is Verdict.TIMEOUT:
                raise late from failure
            if failure.verdict is not Verdict.OUT_OF_MEMORY or batch == 1:
                raise
            batch = max(1, batch // 2)
            print(f"out of memory: {batch} images at a time", file=sys.stderr)
            reopen()
            continue
        for pixels in _pixels(images.arrays.get("images"), count):
            Image.fromarray(pixels).save(folder / f"{done:05d}.png")
            done += 1
            tell(done)
    return folder


def _pixels(images: NDArray[Any] | None, count: int) -> list[Pixels]:
    """uint8 (N, C, H, W) as arrays that Pillow takes; grey ones get three channels."""
    if (
        images is None
        or images.dtype != np.uint8
        or images.ndim != 4
        or len(images) != count
        or images.shape[1] not in (1, 3)
    ):
        raise NotDrawn("DiffusionModule.sample did not return images of one or three channels")
    colour = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
    return [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in colour]


def training_images(data: Path, size: int) -> NDArray[np.uint8]:
    """The training images of a folder in AFHQ's layout as uint8 (N, 3, size, size), resized as the lab does."""
    from PIL import ImageOps

    folder = open_folder(data / "train", "training")
    tell = progress("training images", len(folder.files))
    shape = len(folder.files), 3, size, size
    if math.prod(shape) > MOST_PIXELS:
        raise NotDrawn(f"{shape[0]:,} training images of {size}x{size} pixels do not fit into the grader's memory")
    images = np.empty(shape, np.uint8)
    for number, picture in enumerate(pictures(folder)):
        fitted = ImageOps.fit(Image.fromarray(picture.pixels), (size, size), method=Image.Resampling.BICUBIC)
        images[number] = np.asarray(fitted).transpose(2, 0, 1)
        tell(number + 1)
    return images
