"""Times `pytorch_fid` against `grader fid` on the same images and weights: `python -m grader.fid.benchmark`.

Both are run as commands, start-up included, on images made here: 500 "generated" ones against 1,500 "real" ones. The
weights are random, as no time depends on them. A later run of ours finds the reference cached, as every submission
of a class after the first does; pytorch_fid has that too, with statistics saved by hand, so both are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from grader.fid.weights import FILE, seeded_inception


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grader.fid.benchmark", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--generated", type=int, default=500, metavar="N", help="generated images (default: %(default)s)")
    add("--reference", type=int, default=1500, metavar="N", help="reference images (default: %(default)s)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="for both (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of images and weights (default: %(default)s)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ddpm-fid-") as scratch:
        return _compare(Path(scratch), options)


def _compare(scratch: Path, options: argparse.Namespace) -> int:
    import torch

    print(
        f"{options.generated} against {options.reference} images of 64x64 on {options.device}, "
        f"{platform.machine()} with {os.cpu_count()} cores, torch {torch.__version__}",
        flush=True,
    )
    generated, reference = scratch / "generated", scratch / "reference"
    make_images(generated, options.generated, options.seed, falloff=1.1)
    make_images(reference, options.reference, options.seed + 1, falloff=1.0)
    weights = scratch / "torch" / "hub" / "checkpoints" / FILE  # where pytorch_fid looks for its own
    weights.parent.mkdir(parents=True)
    torch.save(seeded_inception(options.seed), weights)

    theirs = [sys.executable, "-W", "ignore", "-m", "pytorch_fid", "--device", options.device]
    ours = [
        sys.executable,
        "-m",
        "grader",
        "fid",
        str(generated),
        str(reference),
        "--weights",
        str(weights),
        "--json",
        "--device",
        options.device,
    ]
    saved, cache = str(scratch / "reference.npz"), scratch / "cache"
    plain = _run("pytorch_fid", [*theirs, str(generated), str(reference)], scratch)
    cold = _run("grader fid, nothing cached", [*ours, "--cache", str(cache)], scratch)
    # The reference alone: what another student's images meet.
    make_images(generated, options.generated, options.seed + 2, falloff=1.1)
    warm = _run("grader fid, reference cached", [*ours, "--cache", str(cache)], scratch)
    again = _run("grader fid, all cached", [*ours, "--cache", str(cache)], scratch)
    _run("pytorch_fid --save-stats (reference)", [*theirs, "--save-stats", str(reference), saved], scratch)
    plain_saved = _run("pytorch_fid, reference saved", [*theirs, str(generated), saved], scratch)

    difference = abs(cold[1] / plain[1] - 1)
    print(
        f"\ntimes as fast as pytorch_fid: {plain[0] / cold[0]:.1f} with nothing cached, "
        f"{plain[0] / warm[0]:.1f} with the reference cached, {plain[0] / again[0]:.0f} with all cached\n"
        f"times as fast as pytorch_fid with saved statistics: {plain_saved[0] / warm[0]:.1f}\n"
        f"relative difference of the two FIDs: {difference:.1e} (1e-3 allowed)"
    )
    return 0 if difference <= 1e-3 else 1


def _run(name: str, command: list[str], scratch: Path) -> tuple[float, float]:
    """(seconds, FID) of one command, FID nan where it prints none. Raises CalledProcessError."""
    environment = {**os.environ, "TORCH_HOME": str(scratch / "torch")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()
    found = re.search(r"FID:\s+([-\d.e+]+)", done.stdout)
    if found:
        fid = float(found[1])
    else:
        fid = float(json.loads(done.stdout)["fid"]) if done.stdout.startswith("{") else float("nan")
    print(f"{name:<38}{seconds:8.1f} s{used:8.1f} s of CPU   FID {fid:.6f}", flush=True)
    return seconds, fid


def make_images(folder: Path, count: int, seed: int, falloff: float) -> None:
    """Write `count` 64x64 PNGs of coloured noise whose amplitude falls with frequency^-falloff, as that of photos."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    frequency[0, 0] = 1
    for i in range(count):
        noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, 64, 64))) / frequency**falloff).real
        colour = rng.normal(0.5, 0.1, size=(3, 1, 1))
        pixels = 255 * np.clip(colour + 0.2 * noise / noise.std(), 0, 1)
        Image.fromarray(pixels.astype(np.uint8).transpose(1, 2, 0)).save(folder / f"{i:05}.png")


if __name__ == "__main__":
    sys.exit(main())
