"""A large made-up class, and how long it takes: `python -m grader.tools.crowd`.

Every student combines right solutions in styles of their own, and some make mistakes; a few hand in what cannot be
read. The whole class is graded code-only through the command line, with the grader's own memory watched; a part of it
with one and two workers, as threads of one process and on Dask. What more workers would need for 10,000 submissions
is a simulation on the times measured here, and labelled so.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grader.judging.made_up import Case, combined
from grader.lab.catalogue import mistakes, styles
from grader.tools.builder import build, pack
from grader.tools.command import grade_command

MINUTES = 20.0  # for 300 submissions on two cores
MISTAKEN = 0.12  # share of rows with a mistake
UNREADABLE = 0.02  # share of submissions
SIMULATED = 10_000


def crowd(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `count` ZIPs to `folder` and return their paths; the same seed gives the same class."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    of_row: dict[str, list[Case]] = {}
    for case in mistakes():
        if case.row and set(case.bodies) == {case.row} and not case.replace and not case.files:
            of_row.setdefault(case.row, []).append(case)
    return [_student(folder, f"4125{number:05d}", of_row, rng) for number in range(count)]


def _student(folder: Path, name: str, of_row: dict[str, list[Case]], rng: np.random.Generator) -> Path:
    archive = folder / f"{name}_lab1.zip"
    if rng.random() < UNREADABLE:
        archive.write_bytes(b"PK\x03\x04 cut short")
        return archive
    right = combined(name, [found[int(rng.integers(len(found)))] for found in styles().values()])
    bodies = dict(right.bodies)
    for row, cases in of_row.items():
        if row in bodies and rng.random() < MISTAKEN:
            bodies |= cases[int(rng.integers(len(cases)))].bodies
    with tempfile.TemporaryDirectory() as scratch:
        return pack(build(Path(scratch) / name, bodies, right.files, right.replace), archive, top=f"{name}_lab1")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where the class takes longer than 20 minutes for 300, in proportion, or the memory grows."""
    parser = argparse.ArgumentParser(prog="python -m grader.tools.crowd", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--count", type=int, default=300, help="submissions (default: %(default)s)")
    add("--part", type=int, default=24, help="of them for the comparison of workers; 0 leaves it out (%(default)s)")
    add("--seed", type=int, default=0, help="of the class (default: %(default)s)")
    add("--write", type=Path, metavar="DIR", help="only write the class there")
    options = parser.parse_args(argv)
    if options.write:
        print(f"{len(crowd(options.write, options.count, options.seed))} submissions in {options.write}")
        return 0
    with tempfile.TemporaryDirectory(prefix="ddpm-crowd-") as scratch:
        folder = Path(scratch)
        paths = crowd(folder / "class", options.count, options.seed)
        good = _whole_class(paths, folder / "grades")
        if options.part:
            _compare(paths[: options.part], folder)
        _simulate(folder / "grades")
    return 0 if good else 1


def _whole_class(paths: list[Path], out: Path) -> bool:
    began = time.monotonic()
    process = subprocess.Popen(
        _command(paths, out, "--jobs", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    memory = []
    for done, _ in enumerate(process.stderr, 1):  # a line a submission
        memory.append(_resident_mib(process.pid))
        if done % 25 == 0:
            print(f"  {done} lines, {memory[-1]:.0f} MiB", file=sys.stderr, flush=True)
    process.wait()
    minutes = (time.monotonic() - began) / 60
    known = [mib for mib in memory if mib]
    tenth = max(1, len(known) // 10)
    first, last = np.median(known[tenth : 2 * tenth]), np.median(known[-tenth:])
    cores = len(os.sched_getaffinity(0))
    print(
        f"{len(paths)} submissions, code only, 2 at a time on {cores} cores: {minutes:.1f} min, "
        f"{len(paths) / minutes:.0f} a minute (aim: 300 within {MINUTES:g} min)"
    )
    print(
        f"the grader's own memory: {first:.0f} MiB after a tenth of the class, {last:.0f} MiB at its end, "
        f"{max(known):.0f} MiB at most"
    )
    return bool(minutes <= MINUTES * len(paths) / 300 and last <= 1.2 * first + 30)


def _command(paths: list[Path], out: Path, *more: str) -> list[str]:
    return grade_command(paths, out, "--no-training", "--seed", "0", *more)


def _resident_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def _compare(paths: list[Path], folder: Path) -> None:
    rates: dict[tuple[str, int], float] = {}
    summaries = set()
    for name, option in (("threads", ["--jobs", "{}"]), ("Dask", ["--scheduler", "local:{}"])):
        for workers in (1, 2):
            out = folder / f"{name}-{workers}"
            began = time.monotonic()
            subprocess.run(_command(paths, out, *(part.format(workers) for part in option)), capture_output=True)
            rates[name, workers] = 60 * len(paths) / (time.monotonic() - began)
            summaries.add((out / "summary.csv").read_bytes())
    for name in ("threads", "Dask"):
        one, two = rates[name, 1], rates[name, 2]
        print(
            f"{len(paths)} submissions by {name:<8} 1 worker {one:5.1f} a minute, 2 workers {two:5.1f}, "
            f"{two / one:.2f} times as many"
        )
    print(f"the four summaries are {'the same, byte for byte' if len(summaries) == 1 else 'DIFFERENT'}")


def _simulate(out: Path) -> None:
    """List scheduling of submissions whose times are drawn from those measured on this machine."""
    measured = [json.loads(file.read_text(encoding="utf-8"))["duration_s"] for file in out.glob("*/result.json")]
    times = np.random.default_rng(0).choice(measured, SIMULATED)
    print(
        f"simulation, not measured: {SIMULATED:,} submissions with the times of the {len(measured)} graded here "
        f"(mean {np.mean(measured):.1f} s, longest {max(measured):.1f} s), each worker on a core of its own"
    )
    for workers in (1, 2, 8, 32, 128):
        free = [0.0] * workers
        for seconds in times:
            heapq.heapreplace(free, free[0] + float(seconds))
        print(f"  {workers:>4} workers: {max(free) / 3600:7.2f} h")


if __name__ == "__main__":
    raise SystemExit(main())
