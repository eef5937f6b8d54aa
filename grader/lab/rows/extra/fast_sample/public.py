"""Public check of the companion exercise fast_sample in image_diffusion_todo/companions.py."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from grader.lab.edition.compare import T, Wrong, check_close, check_kept
from grader.lab.edition.ways import Way
from grader.lab.edition.yours import new_scheduler
from grader.lab.probes.stand_ins import as_steps

EQUATION = "x_s = sqrt(alpha-bar_s) x0_pred + sqrt(1 - alpha-bar_s) eps_theta    DDIM Eq. 12"
# Of T = 10, by the length of a jump; the first is the exercise's own.
ALLOWED = {1: [[*range(T - 1, -1, -1)]], 3: [[9, 6, 3, 0]], 4: [[9, 5, 1], [9, 5, 1, 0], [8, 4, 0]]}


class Knowing:
    """A network that knows the way, and keeps what it was given."""

    def __init__(self, way: Way, predictor: str) -> None:
        self.answer, self.predictor = way.eps if predictor == "noise" else way.x_0, predictor
        self.seen: list[tuple[int, torch.Tensor]] = []

    def __call__(self, x_t: torch.Tensor, timestep: Any, **_: Any) -> torch.Tensor:
        self.seen.append((int(as_steps(timestep, len(x_t))[0]), x_t.clone()))
        return self.answer

    def sampled(self, x_T: torch.Tensor, every: int) -> object:
        """What your fast_sample makes of x_T with this network."""
        companions = importlib.import_module("companions")
        return companions.fast_sample(self, new_scheduler(), x_T, every, self.predictor)


def check() -> None:
    for predictor in ("noise", "x0"):
        for every in ALLOWED:
            where = f'fast_sample in companions.py, every = {every}, T = {T}, predictor "{predictor}"'
            check_jumps(predictor, every, check_timesteps(predictor, every, where), where)


def check_timesteps(predictor: str, every: int, where: str) -> int:
    """Returns the first timestep, to which your function takes x_T to belong."""
    way = Way()
    network = Knowing(way, predictor)
    network.sampled(way.at(T - 1), every)
    visited = [t for t, _ in network.seen]
    if visited not in ALLOWED[every]:
        checked, due = "the timesteps at which the network is asked", f"{ALLOWED[every][0]}"
        hint = "count down from T-1, k at a time, as long as t is not negative"
        raise Wrong(checked, due, f"{visited[:12]}", where, hint)
    return visited[0]


def check_jumps(predictor: str, every: int, first: int, where: str) -> None:
    way = Way()
    network, x_T = Knowing(way, predictor), way.at(first)
    out = network.sampled(x_T, every)
    hint = "both alpha-bars of a jump: the one at t takes x_t apart, the one at t-k puts it together"
    for t, shown in network.seen:
        check_close(shown, way.at(t), f"what the network is shown at t = {t}", where, hint, atol=1e-3)
    hint = "past t = 0 there is no noise left: which alpha-bar is that?"
    check_close(out, way.x_0, "x_0, for a network that knows it", where, hint, atol=1e-3)
    check_kept(way.at(first), x_T, "x_T", where)
