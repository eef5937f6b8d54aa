"""`make benchmark`: a code-only grading on one core, how much of it is importing torch, and a class on two cores.

Everything is measured in this one run, so that the ratios mean something on a noisy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from grader.judging.made_up import Case
from grader.tools.builder import write
from grader.tools.command import grade_command
from grader.tools.demo import build_class

LIMIT_S = 6.0


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Keep this process and all that it starts on the first `count` cores that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def grade(paths: Sequence[Path], out: Path, jobs: int) -> None:
    """In a process of its own."""
    subprocess.run(grade_command(paths, out, "--no-training", "--jobs", str(jobs)), check=False, capture_output=True)


def import_torch() -> None:
    subprocess.run([sys.executable, "-c", "import torch"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if one submission on one core takes longer than 6 s in the median."""
    parser = argparse.ArgumentParser(prog="python -m grader.tools.benchmark", description=main.__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="gradings of one submission (default: %(default)s)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ddpm-benchmark-") as scratch:
        folder = Path(scratch)
        solved = write(Case("solved"), folder)
        with contextlib.redirect_stderr(io.StringIO()):
            archives = build_class(folder / "class")
        import_torch()  # once, so that the files are in the page cache for both
        with cores(1):
            imports = [seconds(import_torch) for _ in range(options.repeat)]
            single = [seconds(lambda: grade([solved], folder / "single", 1)) for _ in range(options.repeat)]
            one = seconds(lambda: grade(archives, folder / "one", 1))
        with cores(2):
            two = seconds(lambda: grade(archives, folder / "two", 2))
    alone, torch = median(single), median(imports)
    print(
        f"one submission, one core, command included: {alone:.2f} s in the median of {options.repeat} "
        f"({min(single):.2f} to {max(single):.2f}); at most {LIMIT_S:g} s is the aim"
    )
    print(f"importing torch alone, same core:           {torch:.2f} s, {100 * torch / alone:.0f}% of it")
    print(f"class of {len(archives)}, one core, one at a time:     {one:.1f} s")
    print(f"class of {len(archives)}, two cores, two at a time:    {two:.1f} s, {one / two:.2f} times as fast")
    return 0 if alone <= LIMIT_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
