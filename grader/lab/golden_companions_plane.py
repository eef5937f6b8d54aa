"""The golden file of the plane's companions: inputs, draws and outputs of `train_step` and `sample`.

The draws are those of PyTorch's CPU generators, the outputs those of the float64 formulas of grader.lab.reference.
Students see the file, which their own check reads as well; the judge draws further cases that nobody has seen.
`python -m grader.lab.goldens` rebuilds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.lab import reference
from grader.lab.goldens import FOLDER, Arrays, GoldenFile
from grader.lab.reference import Array, Schedule

SEED = 412_551_015
SIZES = {
    "train_step": ((5, 2, 10), (1, 3, 4), (16, 1, 10), (33, 4, 20), (7, 2, 1000)),
    "sampler_loop": ((4, 2, 4), (1, 3, 10), (16, 1, 10), (33, 2, 20), (5, 4, 50)),
}  # (N, d, T)
CHAIN = (10, 0.01, 0.3)  # T, beta_1 and beta_T of the forward step's coefficients, as in the public golden file
LARGE = 1000  # T from which the betas are the lab's own


@dataclass(frozen=True)
class Golden:
    """A case: what the function is given (float32, as students' code receives it), what it draws, what is right."""

    exercise: str  # a key of SIZES
    inputs: Arrays
    draws: Arrays
    out: Array


def schedule_for(T: int) -> Schedule:
    """Betas from 0.01 to 0.3 for few timesteps, less for more, rounded to float32."""
    last = 0.02 if T >= LARGE else min(0.3, 5.0 / T)
    betas = np.linspace(last / 30.0 if T < LARGE else 1e-4, last, T)
    return Schedule(betas.astype(np.float32).astype(np.float64))


def inputs_for(exercise: str, size: tuple[int, int, int], rng: np.random.Generator, seed: int) -> Arrays:
    """Arguments of `train_step` or `sample` for (N, d, T) by name, apart from their draws."""
    count, d, T = size
    s = schedule_for(T)
    spread = 0.5 / d if exercise == "sampler_loop" else 0.7  # larger weights make the samples grow from step to step
    shared = {
        "w_model": _float32(spread * rng.standard_normal((d + 1, d))),
        "betas": _float32(s.betas),
        "alpha_bar": _float32(s.ab),
        "seed": np.array(seed),
    }
    if exercise == "sampler_loop":
        return shared | {"shape": np.array([count, d], dtype=np.float32)}
    return shared | {"x_clean": _float32(rng.uniform(-2.0, 2.0, (count, d))), "lr": np.array(rng.uniform(0.2, 1.0))}


def right_answer(exercise: str, inputs: Arrays, draws: Arrays) -> Array:
    """The formula's result in float64 for given draws: t and eps, or start (N, d) and noise (T, N, d)."""
    s, w = Schedule(inputs["betas"].astype(float)), inputs["w_model"].astype(float)
    if exercise == "train_step":
        return reference.train_step(
            inputs["x_clean"].astype(float), w, s, float(inputs["lr"]), int(draws["t"]), draws["eps"].astype(float)
        )
    noises = {t: draws["noise"][t].astype(float) for t in range(1, s.T)}
    return reference.sampler_loop(w, s, draws["start"].astype(float), noises)


def goldens() -> list[Golden]:
    """The stored cases."""
    stored = GOLDEN.read()
    return [
        Golden(
            exercise,
            _below(stored, f"{exercise}.{i}.in."),
            _below(stored, f"{exercise}.{i}.draw."),
            stored[f"{exercise}.{i}.out"],
        )
        for exercise, sizes in SIZES.items()
        for i in range(len(sizes))
    ]


def arrays() -> Arrays:
    """Everything that the file holds, by name, made anew."""
    rng = np.random.default_rng(SEED)
    made: Arrays = {}
    for exercise, sizes in SIZES.items():
        for i, size in enumerate(sizes):
            inputs = inputs_for(exercise, size, rng, int(rng.integers(10_000)))
            draws = _torch_draws(exercise, inputs, size)
            made |= {f"{exercise}.{i}.in.{name}": value for name, value in inputs.items()}
            made |= {f"{exercise}.{i}.draw.{name}": value for name, value in draws.items()}
            made[f"{exercise}.{i}.out"] = right_answer(exercise, inputs, draws)
    of_x, of_noise = reference.forward_step_tables(Schedule.linear(*CHAIN))
    return made | {"chain.of_x": of_x, "chain.of_noise": of_noise}


def _torch_draws(exercise: str, inputs: Arrays, size: tuple[int, int, int]) -> Arrays:
    import torch

    (count, d, T), seed = size, int(inputs["seed"])

    def normal(own_seed: int) -> NDArray[Any]:
        return np.asarray(torch.randn(count, d, generator=torch.Generator().manual_seed(own_seed)).numpy())

    if exercise == "train_step":
        t = torch.randint(0, T, (1,), generator=torch.Generator().manual_seed(seed))
        return {"t": np.array(int(t)), "eps": normal(seed + 1)}
    later = [normal(seed + 100 + t) for t in range(1, T)]
    return {"start": normal(seed), "noise": np.stack([np.zeros((count, d), np.float32), *later])}


def _float32(array: Array) -> NDArray[np.float32]:
    return array.astype(np.float32)


def _below(stored: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def record() -> dict[str, Any]:
    """What the JSON beside the arrays says."""
    import torch

    return {
        "formulas": "float64 numpy, apart from the solutions; tested against autograd and the draws of torch",
        "draws": "torch.Generator on the CPU: `seed` for t, `seed + 1` for eps; `seed` for the start, "
        "`seed + 100 + t` for the noise of the step at t > 0",
        "torch": str(torch.__version__),
        "dtype": "inputs and draws float32, outputs float64",
        "sizes": {
            exercise: [dict(zip("NdT", size, strict=True)) for size in sizes] for exercise, sizes in SIZES.items()
        },
        "tolerances": {"atol": 1e-4, "why": "float32 rewrites agree to 1e-5; known mistakes move a number by 1e-3"},
    }


GOLDEN = GoldenFile(FOLDER / "companions_plane.npz", arrays, record)
