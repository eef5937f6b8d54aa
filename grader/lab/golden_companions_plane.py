"""The golden file of the plane's companions: inputs, draws and outputs of `train_step` and `sample`.

The draws are those of PyTorch's CPU generators, the outputs those of the float64 formulas of grader.lab.reference.
Students see the file, which their own check reads as well; the judge draws further cases that nobody has seen.
`python -m grader.lab.goldens` rebuilds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.lab import reference
from grader.lab.goldens import Arrays, GoldenFile
from grader.lab.reference import Schedule
from grader.lab.rows.extra.sampler_loop.judge import SAMPLER_LOOP
from grader.lab.rows.extra.train_step.judge import TRAIN_STEP
from grader.lab.shared.warmups import GOLDENS

SEED = 412_551_015
SIZES = {
    TRAIN_STEP: ((5, 2, 10), (1, 3, 4), (16, 1, 10), (33, 4, 20), (7, 2, 1000)),
    SAMPLER_LOOP: ((4, 2, 4), (1, 3, 10), (16, 1, 10), (33, 2, 20), (5, 4, 50)),
}  # (N, d, T)
CHAIN = (10, 0.01, 0.3)  # T, beta_1 and beta_T of the forward step's coefficients, as in the public golden file


class TorchsOwn:
    """PyTorch's generator on the CPU, where the judge has grader.lab.torch_draws.TorchGenerator."""

    def __init__(self, seed: int) -> None:
        import torch

        self.torch, self.generator = torch, torch.Generator().manual_seed(seed)

    def randint(self, high: int) -> int:
        return int(self.torch.randint(0, high, (1,), generator=self.generator))

    def randn(self, *shape: int) -> NDArray[Any]:
        return np.asarray(self.torch.randn(shape, generator=self.generator).numpy())


def arrays() -> Arrays:
    """Everything that the file holds, by name, made anew."""
    rng = np.random.default_rng(SEED)
    made: Arrays = {}
    for warmup, sizes in SIZES.items():
        for i, size in enumerate(sizes):
            case = warmup.case(size, rng, int(rng.integers(10_000)))
            draws = warmup.draws(case, TorchsOwn)
            made |= {f"{warmup.name}.{i}.in.{name}": value for name, value in case.inputs.items()}
            made |= {f"{warmup.name}.{i}.draw.{name}": value for name, value in draws.items()}
            made[f"{warmup.name}.{i}.out"] = warmup.right(case, draws)
    of_x, of_noise = reference.forward_step_tables(Schedule.linear(*CHAIN))
    return made | {"chain.of_x": of_x, "chain.of_noise": of_noise}


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
            warmup.name: [dict(zip("NdT", size, strict=True)) for size in sizes] for warmup, sizes in SIZES.items()
        },
        "tolerances": {"atol": 1e-4, "why": "float32 rewrites agree to 1e-5; known mistakes move a number by 1e-3"},
    }


GOLDEN = GoldenFile(GOLDENS, arrays, record)
