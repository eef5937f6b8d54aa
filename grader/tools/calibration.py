"""Where the limits of the 2D training come from: many seeds, several right networks, both variances of the step.

Each network is trained as `task1.training` trains it, on a distribution of its own for each seed, and sampled with
either variance. The table goes to stdout and every reading to calibration.csv beside this file; `--check` compares the
limits of policy.toml with what is stored.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from grader.files import write_atomically
from grader.judging.bench import Bench
from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.lab.rows.task1.simplenet.styles import STYLES
from grader.lab.rows.task1.training.chain import Chain, Link
from grader.lab.rows.task1.training.judge import (
    DATA_POINTS,
    EVALUATED,
    Task,
    TrainingObservation,
    evaluate,
    hold,
    measure,
    sample,
    train,
)
from grader.sandbox import Sandbox
from grader.submission.unpack import stage
from grader.tools.builder import write

READINGS = Path(__file__).with_name("calibration.csv")
SOLVED = "solved"
BETA_STEP = {
    "task1.p_sample": """
    beta_t = extract(self.var_scheduler.betas, t, xt)
    alpha_t = extract(self.var_scheduler.alphas, t, xt)
    alpha_bar_t = extract(self.var_scheduler.alphas_cumprod, t, xt)
    mean = (xt - beta_t / (1 - alpha_bar_t).sqrt() * self.network(xt, t)) / alpha_t.sqrt()
    z = torch.randn_like(xt) * (t > 0).unsqueeze(-1)
    x_t_prev = mean + beta_t.sqrt() * z
"""
}


@dataclass(frozen=True)
class Reading:
    """One training: the grader's loss, Chamfer distance with sigma^2 = beta-tilde and with sigma^2 = beta.

    `links` is the worst of both chains, 0 where every link is a reverse step.
    """

    network: str
    seed: int
    family: str
    loss: float
    chamfer_posterior: float
    chamfer_beta: float
    links: int


def networks() -> dict[str, Case]:
    """Right architectures by name, each in a submission that is otherwise the solved lab."""
    return {SOLVED: Case(SOLVED)} | {style.name: combined(style.name, [style]) for style in STYLES}


def read(case: Case, seeds: Sequence[int]) -> Iterator[Reading]:
    """Train and sample one network under each seed."""
    policy = LAB.policy()
    patient = {"submission_s": 1e6, "wall_s": 1e6, "cpu_s": 10**6}
    policy = policy.model_copy(
        update={
            "limits": policy.limits.model_copy(update=patient),
            "training": policy.training.model_copy(update={"seconds": 3600.0}),
        }
    )
    with tempfile.TemporaryDirectory(prefix="ddpm-calibration-") as scratch, ExitStack() as stack:

        def opened(name: str, more: dict[str, str]) -> Sandbox:
            written = write(replace(case, name=name, bodies=case.bodies | more), Path(scratch))
            staged = stage(written, Path(scratch) / f"staged-{name}", LAB)
            return stack.enter_context(Sandbox(staged.root, staged.halves, policy.limits, LAB.material))

        posterior, beta = opened("posterior", {}), opened("beta", BETA_STEP)
        for seed in seeds:
            yield read_once(case.name, seed, Bench(posterior, "task1", np.random.default_rng(seed), policy), beta)


def read_once(network: str, seed: int, bench: Bench, other: Sandbox) -> Reading:
    """Train by the sandbox of `bench`, and sample by it and by `other`, a submission with the other variance."""
    limits, task = bench.policy.training, Task.drawn(bench.rng)
    target = task.spiral.draw(DATA_POINTS, bench.rng)
    bench.renew()
    hold(bench, task, train(bench, task, target))
    distances, links = [], []
    with bench.beside() as apart:
        for sampling in (apart, replace(bench, sandbox=other)):
            sampling.renew()
            chain = Chain(task.schedule, EVALUATED)
            seen = TrainingObservation(target, task.schedule, limits.loss_range, chain=chain)
            evaluate(sample(bench, sampling, task, seen), seen, task, bench)
            distances.append(round(seen.chamfer, 2))
            links.append(chain.worst)
    measure(bench, task, seen)
    return Reading(network, seed, task.spiral.family, round(seen.loss, 4), distances[0], distances[1], int(max(links)))


def table(readings: Sequence[Reading]) -> str:
    """Smallest, mean and largest reading of each network."""

    def spread(values: list[float], form: str) -> str:
        return f"{min(values):{form}} {np.mean(values):{form}} {max(values):{form}}"

    lines = [f"{'network':<32}{'seeds':>6}   {'loss: min mean max':<22}{'Chamfer, posterior':<22}Chamfer, beta"]
    for network in dict.fromkeys(reading.network for reading in readings):
        own = [reading for reading in readings if reading.network == network]
        loss = spread([reading.loss for reading in own], ".3f")
        posterior = spread([reading.chamfer_posterior for reading in own], ".1f")
        beta = spread([reading.chamfer_beta for reading in own], ".1f")
        lines.append(f"{network:<32}{len(own):>6}   {loss:<22}{posterior:<22}{beta}")
    return "\n".join(lines)


def stored() -> list[Reading]:
    with READINGS.open(encoding="utf-8", newline="") as file:
        return [
            Reading(
                line["network"],
                int(line["seed"]),
                line["family"],
                float(line["loss"]),
                float(line["chamfer_posterior"]),
                float(line["chamfer_beta"]),
                int(line["links"]),
            )
            for line in csv.DictReader(file)
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or check the stored readings against the policy; 1 if a right solution would lose points by its seed."""
    parser = argparse.ArgumentParser(prog="python -m grader.tools.calibration", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="for each network (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], help="these networks; repeatable")
    parser.add_argument("--check", action="store_true", help="measure nothing, read the stored readings")
    options = parser.parse_args(argv)
    readings = stored() if options.check else measure_all(options)
    print(table(readings))
    limits = LAB.policy().training
    low, high = limits.loss_range
    outside = [r for r in readings if not low <= r.loss <= high]
    above = [r for r in readings if max(r.chamfer_posterior, r.chamfer_beta) >= limits.chamfer_full]
    unexplained = [r for r in readings if r.links != Link.STEP]
    print(
        f"\n{len(readings)} trainings: {len(outside)} with a loss outside the range {low:g} to {high:g}, "
        f"{len(above)} with a Chamfer distance of {limits.chamfer_full:g} or more, "
        f"{len(unexplained)} whose chain has other links than reverse steps"
    )
    return 1 if outside or above or unexplained else 0


def measure_all(options: argparse.Namespace) -> list[Reading]:
    """All readings, also written to READINGS as they come."""
    chosen = {name: case for name, case in networks().items() if not options.only or name in options.only}
    order = list(networks())
    kept = [one for one in stored() if one.network not in chosen] if options.only and READINGS.exists() else []
    count, writing = 0, threading.Lock()

    def one(name: str) -> None:
        nonlocal count
        for reading in read(chosen[name], range(options.seeds)):
            with writing:
                count += 1
                print(f"{count}/{len(chosen) * options.seeds} {reading}", file=sys.stderr, flush=True)
                kept.append(reading)
                kept.sort(key=lambda reading: (order.index(reading.network), reading.seed))
                text = io.StringIO()
                writer = csv.DictWriter(text, fieldnames=list(Reading.__dataclass_fields__), lineterminator="\n")
                writer.writeheader()
                writer.writerows(vars(reading) for reading in kept)
                write_atomically(READINGS, text.getvalue())

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, chosen))
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
