"""Public checks of the companion exercises in 2d_plot_diffusion_todo, which have no points."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from .compare import T, Wrong, check_close, check_statistics, check_tensor, t_of, with_any_t
from .stubs import Recorder
from .task1 import POINTS, diffusion

GOLDEN = dict(np.load(Path(__file__).parent / "companions_plane.npz", allow_pickle=False))
TRAIN_ARGUMENTS = ("x_clean", "w_model", "betas", "alpha_bar", "lr", "seed")
SAMPLE_ARGUMENTS = ("w_model", "shape", "betas", "alpha_bar", "seed")
EQUATIONS = {
    "extra.train_step": "loss = mean of (predicted - eps)^2, predicted = [x_t, t/T] @ w_model    DDPM Eq. 14",
    "extra.sampler_loop": "x_{t-1} = mu_theta(x_t, t) + sqrt(beta_t) z, z = 0 at t = 0    DDPM Eq. 11, Algorithm 2",
    "extra.forward_step": "q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)    DDPM Eq. 2",
    "extra.naive_skip": "x_T ~ N(0, I); t = T-1, T-1-k, T-1-2k, ...: x = p_sample(x, t)",
}
STEP_HINTS = {
    "t0": "",  # the forward step adds noise at every t
    "mean": "one step: which table belongs to a single t, beta or alpha-bar? And where is a root?",
    "spread": "beta_t is a variance: what multiplies z? Is there one draw a number?",
}


def check_train_step() -> None:
    hint = "which seed belongs to which draw? Is the loss a mean over all N*d entries? Which way is downhill?"
    check_cases("train_step", importlib.import_module("warmup").train_step, TRAIN_ARGUMENTS, hint)


def check_sampler_loop() -> None:
    hint = "a new generator for each step, seeded with seed + 100 + t; sqrt(beta_t) times the draw; none at t = 0"
    check_cases("sampler_loop", importlib.import_module("warmup").sample, SAMPLE_ARGUMENTS, hint)


def check_cases(exercise: str, function: Callable, names: tuple[str, ...], hint: str) -> None:
    """Call `function` on every stored case, with gradients disabled."""
    count = len({name.split(".")[1] for name in GOLDEN if name.startswith(f"{exercise}.")})
    for number in range(count):
        stored = [GOLDEN[f"{exercise}.{number}.in.{name}"] for name in names]
        given = [torch.from_numpy(value.copy()) if value.ndim else value.item() for value in stored]
        sizes = ", ".join(f"{name} {value.shape}" for name, value in zip(names, stored, strict=True) if value.ndim)
        where = f"{function.__name__} in warmup.py, {sizes}, seed {given[-1]}"
        with torch.no_grad():
            out = function(*given)
        expected = torch.from_numpy(GOLDEN[f"{exercise}.{number}.out"])
        check_close(out, expected, f"the result of {function.__name__}", where, hint)
        for name, before, after in zip(names, stored, given, strict=True):
            if before.ndim and not np.array_equal(before, after.numpy()):
                raise Wrong(
                    f"that {name} is left as it was",
                    "unchanged",
                    "changed",
                    where,
                    "operations such as w -= ... change the caller's tensor",
                )


def check_forward_step() -> None:
    point = torch.tensor([1.5, -0.8])
    for t in (0, 1, 5, T - 1):
        module = diffusion(Recorder())
        x_prev = point.expand(POINTS, 2).clone()
        where = f"forward_step in ddpm.py, t = {t}, x_prev ({POINTS}, 2)"
        out = with_any_t(lambda form, m=module, x=x_prev: m.forward_step(x, form), t, x_prev.shape, int_first=True)
        out = check_tensor(out, tuple(x_prev.shape), "the result of one step", where)
        mean = point * GOLDEN["chain.of_x"][t]
        check_statistics(out, mean, float(GOLDEN["chain.of_noise"][t]), where, STEP_HINTS)


def check_naive_skip() -> None:
    allowed = {1: [[*range(T - 1, -1, -1)]], 3: [[9, 6, 3, 0]], 4: [[9, 5, 1], [9, 5, 1, 0]]}  # of T = 10
    for k, ways in allowed.items():
        module = diffusion(Recorder())
        seen: list[tuple[torch.Tensor, int]] = []

        def step(xt: torch.Tensor, t: object, seen: list = seen) -> torch.Tensor:
            seen.append((xt, t_of(t)))
            return 0.5 * xt + t_of(t)

        module.p_sample = step
        where = f"naive_skip in ddpm.py, shape (20000, 2), k = {k}, T = {T}"
        out = module.naive_skip((20_000, 2), k)
        visited = [t for _, t in seen]
        if visited not in ways:
            raise Wrong(
                "the timesteps at which self.p_sample is called",
                " or ".join(map(str, ways)),
                f"{visited[:12]}",
                where,
                "count down from T-1, k at a time",
            )
        start = check_tensor(seen[0][0], (20_000, 2), "the tensor that the loop starts from", where)
        if abs(start.mean()) > 0.05 or abs(start.std() - 1) > 0.05:
            got = f"mean {start.mean():.2f}, spread {start.std():.2f}"
            raise Wrong(
                "the tensor that the loop starts from",
                "mean 0.00, spread 1.00",
                got,
                where,
                "what is the distribution of x_T?",
            )
        states = [xt for xt, _ in seen[1:]] + [out]
        for (xt, t), following in zip(seen, states, strict=True):
            hint = "hand each step's result to the next, and return the last"
            check_close(following, 0.5 * xt + t, f"what follows the step at t = {t}", where, hint)
