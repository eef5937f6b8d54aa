"""Public check of p_sample_loop in 2d_plot_diffusion_todo/ddpm.py."""

from __future__ import annotations

import torch

from grader.lab.edition.compare import T, Wrong, check_close
from grader.lab.edition.steps import LOOP, check_start, new_step, start_of, visited
from grader.lab.edition.yours import new_diffusion, simple_network

EQUATION = "x_T ~ N(0, I); t = T-1, ..., 0: x_{t-1} ~ p(x_{t-1} | x_t)    DDPM Algorithm 2"


def check() -> None:
    network, step = simple_network(2), new_step()
    module = new_diffusion(network)
    module.p_sample = step
    where = f"p_sample_loop in ddpm.py, shape {LOOP}, T = {T}"
    with torch.no_grad():
        out = module.p_sample_loop(LOOP)
    order = visited(step, network)
    if order != list(range(T))[::-1]:
        hint = "every timestep takes one step, from the noisiest to 0"
        raise Wrong("the timesteps that are visited", f"{T - 1}, {T - 2}, ..., 0", f"{order[:12]}", where, hint)
    check_start(start_of(step, network), where)
    if step.shown:
        hint = "hand each step's result to the next, and return the last"
        check_close(out, 0.5 * step.shown[-1], "that the result is what the step at t = 0 returned", where, hint)
