"""Where the limits of the 2D training come from: many seeds, several right networks, both variances of the step.

Each network is trained as `task1.training` trains it, and sampled with either variance. The table goes to stdout and
every reading to calibration.csv beside this file; `--check` compares the limits of policy.toml with what is stored.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.lab.rows.task1.simplenet.styles import STYLES
from grader.lab.rows.task1.training.judge import DATA_POINTS, EVALUATED, TAIL, TRAINING
from grader.lab.swiss_roll import chamfer_distance, swiss_roll
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
    """One training: smoothed loss at its end, Chamfer distance with sigma^2 = beta-tilde and with sigma^2 = beta."""

    network: str
    seed: int
    loss: float
    chamfer_posterior: float
    chamfer_beta: float


def networks() -> dict[str, Case]:
    """Right architectures by name, each in a submission that is otherwise the solved lab."""
    return {SOLVED: Case(SOLVED)} | {style.name: combined(style.name, [style]) for style in STYLES}


def read(case: Case, seeds: Sequence[int]) -> Iterator[Reading]:
    """Train and sample one network under each seed."""
    limits = LAB.policy().limits.model_copy(update={"submission_s": 1e6, "wall_s": 1e6, "cpu_s": 10**6})
    with tempfile.TemporaryDirectory(prefix="ddpm-calibration-") as scratch, ExitStack() as stack:

        def opened(name: str, more: dict[str, str]) -> Sandbox:
            written = write(replace(case, name=name, bodies=case.bodies | more), Path(scratch))
            staged = stage(written, Path(scratch) / f"staged-{name}", LAB)
            return stack.enter_context(Sandbox(staged.root, staged.halves, limits, LAB.material))

        posterior, beta = opened("posterior", {}), opened("beta", BETA_STEP)
        for seed in seeds:
            rng = np.random.default_rng(seed)
            x0, fresh = swiss_roll(DATA_POINTS, rng), swiss_roll(EVALUATED, rng).astype(float)
            trained = posterior.call("task1", "train", TRAINING | {"seed": seed}, {"x0": x0}, 3600).arrays
            weights = {name: value for name, value in trained.items() if name.startswith("weight.")}
            how = TRAINING | {"seed": seed, "points": EVALUATED}
            drawn = [sandbox.call("task1", "sample", how, weights, 3600) for sandbox in (posterior, beta)]
            distances = [chamfer_distance(answer.arrays["points"].astype(float), fresh) for answer in drawn]
            yield Reading(
                case.name,
                seed,
                round(float(trained["losses"][-TAIL:].mean()), 4),
                *(round(distance, 2) for distance in distances),
            )


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
                float(line["loss"]),
                float(line["chamfer_posterior"]),
                float(line["chamfer_beta"]),
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
    readings = stored() if options.check else measure(options)
    print(table(readings))
    limits = LAB.policy().training
    low, high = limits.loss_range
    outside = [r for r in readings if not low < r.loss < high]
    above = [r for r in readings if r.chamfer_posterior >= limits.chamfer_full]
    print(
        f"\n{len(readings)} trainings: {len(outside)} end outside the loss range {low:g} to {high:g}, "
        f"{len(above)} with the posterior variance have a Chamfer distance of {limits.chamfer_full:g} or more"
    )
    return 1 if outside or above else 0


def measure(options: argparse.Namespace) -> list[Reading]:
    """All readings, also written to READINGS as they come."""
    chosen = {name: case for name, case in networks().items() if not options.only or name in options.only}
    readings: list[Reading] = []

    def one(name: str) -> None:
        for reading in read(chosen[name], range(options.seeds)):
            readings.append(reading)
            print(f"{len(readings)}/{len(chosen) * options.seeds} {reading}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, chosen))
    readings.sort(key=lambda reading: (list(chosen).index(reading.network), reading.seed))
    with READINGS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Reading.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(reading) for reading in readings)
    return readings


if __name__ == "__main__":
    raise SystemExit(main())
