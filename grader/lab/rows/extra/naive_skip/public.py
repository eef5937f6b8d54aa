"""Public check of the companion exercise naive_skip in 2d_plot_diffusion_todo/ddpm.py."""

from __future__ import annotations

import torch

from grader.lab.edition.compare import T, Wrong, check_close
from grader.lab.edition.steps import LOOP, check_start, new_step, start_of, visited
from grader.lab.edition.yours import new_diffusion, simple_network

EQUATION = "x_T ~ N(0, I); t = T-1, T-1-k, T-1-2k, ...: x = p_sample(x, t)"
ALLOWED = {1: [[*range(T - 1, -1, -1)]], 3: [[9, 6, 3, 0]], 4: [[9, 5, 1], [9, 5, 1, 0]]}  # of T = 10, by k


def check() -> None:
    for k, ways in ALLOWED.items():
        network, step = simple_network(2), new_step()
        module = new_diffusion(network)
        module.p_sample = step
        where = f"naive_skip in ddpm.py, shape {LOOP}, k = {k}, T = {T}"
        with torch.no_grad():
            out = module.naive_skip(LOOP, k)
        order = visited(step, network)
        if order not in ways:
            checked, hint = "the timesteps at which self.p_sample is called", "count down from T-1, k at a time"
            raise Wrong(checked, " or ".join(map(str, ways)), f"{order[:12]}", where, hint)
        check_start(start_of(step, network), where)
        hint = "hand each step's result to the next, and return the last"
        for x_t, t, following in zip(step.shown, order, [*step.shown[1:], out], strict=False):
            check_close(following, 0.5 * x_t + t, f"what follows the step at t = {t}", where, hint)
