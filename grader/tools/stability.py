"""`make stability`: the same submission must get the same points under every seed of the judge's inputs.

Every made-up submission is run in one sandbox and judged under many seeds: a flawed one on the row that it is about,
a right one on all rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader.judging.made_up import Case
from grader.lab import LAB
from grader.lab.catalogue import mistakes, variants
from grader.policy import Policy
from grader.running.grading import Order, judge_row
from grader.sandbox import Sandbox, SandboxKind
from grader.submission.unpack import stage
from grader.tools.builder import write

SOLVED = Case("solved")
CASES: tuple[Case, ...] = (SOLVED, *variants(), *mistakes())
Outcome = tuple[str, float, str | None]  # verdict, points, diagnosis


def outcomes(case: Case, seeds: Iterable[int], kind: SandboxKind) -> dict[str, Counter[Outcome]]:
    """{row: how often each outcome came} over the seeds, in one sandbox."""
    rows = [row for row in LAB.rubric if row.is_code and case.row in (None, row.id)]
    policy = _patient(LAB.policy())
    found: dict[str, Counter[Outcome]] = {row.id: Counter() for row in rows}
    with tempfile.TemporaryDirectory(prefix="ddpm-stability-") as scratch:
        submission = stage(write(case, Path(scratch) / "in"), Path(scratch) / "staged", LAB)
        with Sandbox(submission.root, submission.halves, policy.limits, LAB.material, kind) as sandbox:
            for row in rows:  # rows outside, seeds inside: changing the half costs a new process
                for seed in seeds:
                    graded = judge_row(row, sandbox, Order(LAB, seed, policy, tuple(rows), kind))
                    diagnosis = graded.diagnosis.id if graded.diagnosis else None
                    found[row.id][graded.verdict, graded.points, diagnosis] += 1
    return found


def _patient(policy: Policy) -> Policy:
    """The limits of one grading, stretched to a hundred."""
    longer = {"submission_s": policy.limits.submission_s * 100, "wall_s": policy.limits.wall_s * 100, "cpu_s": 36_000}
    return policy.model_copy(update={"limits": policy.limits.model_copy(update=longer)})


def sampled(count: int | None) -> list[Case]:
    """The solved lab, and of the right and of the wrong submissions so many, spread over all; all of them for None."""
    right, wrong = (
        [case for case in CASES if case is not SOLVED and bool(case.row) is flawed] for flawed in (False, True)
    )
    return [SOLVED, *_spread(right, count), *_spread(wrong, count)] if count is not None else list(CASES)


def _spread(cases: list[Case], count: int) -> list[Case]:
    return [cases[i * len(cases) // count] for i in range(count)] if count < len(cases) else cases


def main(argv: Sequence[str] | None = None) -> int:
    """Print every row whose outcome depends on the seed; 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m grader.tools.stability", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--sample", type=int, help="so many right and so many wrong submissions (default: all)")
    parser.add_argument("--only", action="append", default=[], help="cases whose name starts so; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="submissions at a time (default: %(default)s)")
    options = parser.parse_args(argv)
    cases = [case for case in sampled(options.sample) if not options.only or case.name.startswith(tuple(options.only))]
    unsteady = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = pool.map(lambda case: outcomes(case, range(options.seeds), SandboxKind.AUTO), cases)
        for number, (case, found) in enumerate(zip(cases, runs, strict=True), 1):
            changing = {row: counts for row, counts in found.items() if len(counts) > 1}
            unsteady += len(changing)
            for row, counts in changing.items():
                print(f"{case.name}: {row} had {dict(counts)}")
            print(f"[{number}/{len(cases)}] {case.name}", file=sys.stderr)
    judged = sum(1 if case.row else len([row for row in LAB.rubric if row.is_code]) for case in cases)
    print(f"{len(cases)} submissions, {judged} rows, {options.seeds} seeds each: {unsteady} rows depend on the seed")
    return 1 if unsteady else 0


if __name__ == "__main__":
    raise SystemExit(main())
