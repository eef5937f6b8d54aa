"""Kills a run at random points until it has been killed often enough, and compares what is left with a quiet run.

    python -m grader.tools.faults --kills 50

Each round starts the same command again and ends it after a random time: the grader by SIGKILL, SIGTERM or Ctrl-C, or
one of the workers that run student code by SIGKILL. After a last, undisturbed round the class must be what a run that
nobody touched makes of it: the same summary, the same results but for durations, nothing else in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grader.tools.command import grade_command
from grader.tools.crowd import crowd

LONGEST_S = 6.0  # between the start of a round and its end
ROWS = ("task1.q_sample", "task2.cosine")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grader.tools.faults", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kills", type=int, default=50, help="how often (default: %(default)s)")
    add("--count", type=int, default=12, help="submissions (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the class and of the kills (default: %(default)s)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ddpm-faults-") as scratch:
        problems = injected(Path(scratch), options.kills, options.count, options.seed)
    for problem in problems:
        print(problem)
    print("the class is NOT that of a quiet run" if problems else "the class is that of a quiet run")
    return 1 if problems else 0


def injected(folder: Path, kills: int, count: int, seed: int) -> list[str]:
    """What differs between a run that was killed `kills` times and a quiet one; nothing, if all is well."""
    paths = crowd(folder / "class", count, seed)
    quiet, hurt = folder / "quiet", folder / "hurt"
    subprocess.run(_command(paths, quiet), capture_output=True)
    rng, dealt, done = random.Random(seed), Counter[str](), 0
    while done < kills:
        # A class that is complete has nothing left to interrupt: some of it is to be graded again.
        force = len(list(hurt.glob("*/result.json"))) == count
        blow = _round([*_command(paths, hurt), *(["--force"] if force else [])], rng, folder)
        dealt[blow] += 1
        done += blow != "none, as it had ended"
        print(
            f"kill {done} of {kills}: {blow}; {len(list(hurt.glob('*/result.json')))} of {count} results",
            file=sys.stderr,
            flush=True,
        )
    subprocess.run(_command(paths, hurt), capture_output=True, env=_environment(folder))
    print(f"dealt: {', '.join(f'{number} x {blow}' for blow, number in dealt.most_common())}")
    return differences(quiet, hurt) + _left_behind(folder)


def _command(paths: list[Path], out: Path) -> list[str]:
    rows = [part for row in ROWS for part in ("--only", row)]
    return grade_command(paths, out, "--jobs", "2", "--seed", "0", *rows)


def _environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder / "tmp")}


def _round(command: list[str], rng: random.Random, folder: Path) -> str:
    """Start the command and strike once; what was done."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=_environment(folder)
    )
    try:
        process.wait(rng.uniform(0.2, LONGEST_S))
        return "none, as it had ended"
    except subprocess.TimeoutExpired:
        pass
    blow = rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "worker"])
    if blow != "worker":
        process.send_signal(getattr(signal, blow))
        process.wait()
        return f"{blow} to the grader"
    workers = _workers(process.pid)
    if workers:
        os.kill(rng.choice(workers), signal.SIGKILL)
        time.sleep(rng.uniform(0.1, 1.0))
    process.kill()
    process.wait()
    return "SIGKILL to a worker, then to the grader"


def _workers(grader: int) -> list[int]:
    """Processes below the grader's own."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    below = {grader}
    for _ in parents:  # at most so many generations
        grown = below | {child for child, parent in parents.items() if parent in below}
        if grown == below:
            break
        below = grown
    return sorted(below - {grader})


def differences(quiet: Path, hurt: Path) -> list[str]:
    """How the two classes differ, durations aside."""
    found = []
    if (quiet / "summary.csv").read_bytes() != (hurt / "summary.csv").read_bytes():
        found.append("summary.csv differs")
    ours = {path.name for path in hurt.iterdir()} - {"earlier"}
    theirs = {path.name for path in quiet.iterdir()}
    if ours != theirs:
        found.append(f"in one folder and not in the other: {', '.join(sorted(ours ^ theirs))}")
    for file in sorted(quiet.glob("*/result.json")):
        name = file.parent.name
        if judged(file) != judged(hurt / name / "result.json"):
            found.append(f"the result of {name} differs")
        if sorted(os.listdir(file.parent)) != sorted(os.listdir(hurt / name)):
            found.append(f"the files of {name} differ")
    return found


def judged(file: Path) -> Any:
    """A result.json without what differs between any two runs: durations."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key != "duration_s"}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _left_behind(folder: Path) -> list[str]:
    left = [path.name for path in (folder / "tmp").iterdir() if path.name.startswith("ddpm-grader-")]
    return [f"left in the temporary folder: {', '.join(sorted(left)[:5])}"] if left else []


if __name__ == "__main__":
    raise SystemExit(main())
