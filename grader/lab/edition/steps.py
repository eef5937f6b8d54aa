"""Checks of single steps, whose noise is drawn, and of loops over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from grader.lab.edition.compare import ATOL, STANDARD_ERRORS, T, Wrong, check_close, check_tensor, golden
from grader.lab.edition.yours import new_scheduler
from grader.lab.probes.stand_ins import AffineNetwork, AffineStep, forms_of

STEP = "x_{t-1} = mean + sqrt(beta-tilde_t) z, z ~ N(0, I), no z at t = 0    DDPM Sec. 3.2 and Algorithm 2"
POINTS = (50_000, 2)  # batches from which a mean and a spread are taken
IMAGES = (64, 3, 28, 28)
LOOP = (20_000, 2)
STEP_HINTS = {
    "t0": "the last step returns the mean alone",
    "mean": "compare each table that you look up with the equation: alpha or alpha-bar, and where is a root?",
    "spread": "beta or beta-tilde? alpha-bar at t or at t-1? A variance or its root? One draw a number?",
}
INT_FIRST, TENSOR_FIRST = ("int", "0-d", "[1]", "[B]"), ("0-d", "int", "[1]", "[B]")  # what the lab's own loop passes


def filled(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A batch of points (B, K) or images (B, K, H, W), all with the same `values`, of which the first K are taken."""
    return values[: shape[1]].reshape(1, -1, *[1] * (len(shape) - 2)).expand(shape).clone()


def check_reverse_step(
    step_at: Callable[[torch.Tensor, Any], object],
    place: str,
    predictor: str,
    shape: tuple[int, ...],
    forms: tuple[str, ...] = TENSOR_FIRST,
    hints: dict[str, str] = STEP_HINTS,
) -> None:
    """Draws of `step_at(x_t, t)` at several t, against the mean and spread of the posterior."""
    for row, t in enumerate(golden("step_t").tolist()):
        x_t = filled(golden("step_xt"), shape)
        where = f"{place}, t = {t}, x_t {shape}"
        got = with_any_t(lambda form, x=x_t: step_at(x.clone(), form), t, shape, forms)
        mean, spread = golden(f"step_mean_{predictor}")[row], golden("step_spread")[row].item()
        check_draws(got, shape, mean, spread, where, hints)


def check_image_step(predictor: str, hints: dict[str, str] = STEP_HINTS) -> None:
    """step_predict_{predictor} of scheduler.py, for an output of the network that is the same in every pixel."""
    out, name = filled(golden("step_out"), IMAGES), f"step_predict_{predictor}"
    check_reverse_step(
        lambda x_t, t: getattr(new_scheduler(), name)(x_t, t, out.clone()),
        f"{name} in scheduler.py",
        predictor,
        IMAGES,
        hints=hints,
    )


def check_draws(
    got: object, shape: tuple[int, ...], mean: torch.Tensor, spread: float, where: str, hints: dict[str, str]
) -> None:
    """Raise Wrong unless the points or pixels of a batch look like draws from N(mean, spread^2)."""
    batch = check_tensor(got, shape, "the result of one step", where)
    check_statistics(batch.movedim(1, -1).reshape(-1, shape[1]), mean[: shape[1]], spread, where, hints)


def check_statistics(got: torch.Tensor, mean: torch.Tensor, spread: float, where: str, hints: dict[str, str]) -> None:
    """Raise Wrong unless `got` looks like draws from N(mean, spread^2). got: (N, K); mean: (K,)."""
    number = got.shape[0]
    if spread == 0.0:
        check_close(got, mean.expand_as(got), "the result at t = 0, where no noise is added", where, hints["t0"])
        return
    limit = STANDARD_ERRORS * spread / number**0.5
    checked = f"the mean of {number:,} results from the same x_t"
    check_close(got.double().mean(0), mean, checked, where, hints["mean"], atol=limit + ATOL)
    rest = got.double() - mean.double()
    found = rest.std().item()
    if abs(found - spread) > STANDARD_ERRORS * spread / (2 * got.numel()) ** 0.5 + ATOL:
        checked = f"the spread (standard deviation) of {number:,} results from the same x_t"
        raise Wrong(checked, f"{spread:.4f}", f"{found:.4f}", where, hints["spread"])
    correlation = torch.corrcoef(rest[:, :2].T)[0, 1].item()
    if abs(correlation) > STANDARD_ERRORS / number**0.5:
        checked = "that each number has noise of its own"
        hint = "draw the noise in the shape of x_t"
        raise Wrong(checked, "correlation 0.00", f"correlation {correlation:.2f}", where, hint)


def with_any_t(call: Callable[..., object], t: int, shape: tuple[int, ...], forms: tuple[str, ...]) -> object:
    """`call` with the first form of t from which a tensor of `shape` comes. If all are refused, raises as the first."""
    first_error: Exception | None = None
    other: object = None
    for _, form in forms_of(t, shape[0], forms):
        try:
            result = call(form)
        except NotImplementedError:
            raise
        except Exception as error:
            first_error = first_error or error
            continue
        if isinstance(result, torch.Tensor) and tuple(result.shape) == shape:
            return result
        other = result
    if other is None and first_error:
        raise first_error
    return other


def new_step() -> AffineStep:
    """A stand-in for p_sample, x -> 0.5 x + t, that keeps what it was given."""
    return AffineStep(0.5, torch.arange(T, dtype=torch.float32)[:, None].expand(T, LOOP[1]))


def visited(step: AffineStep, network: AffineNetwork) -> list[int]:
    """The timesteps of a loop over p_sample. One that holds a step of its own calls the network instead."""
    return [int(t) for t, _ in step.steps] or [int(call["t"][0]) for call in network.calls]


def start_of(step: AffineStep, network: AffineNetwork) -> torch.Tensor:
    """What such a loop, which took a step, starts from."""
    start: torch.Tensor = step.shown[0] if step.shown else network.calls[0]["x"]
    return start


def check_start(start: object, where: str) -> None:
    """Raise Wrong unless a loop over points starts from standard normal noise."""
    checked = "the tensor that the loop starts from"
    x_T = check_tensor(start, LOOP, checked, where)
    if abs(x_T.mean()) > 0.05 or abs(x_T.std() - 1) > 0.05:
        got = f"mean {x_T.mean():.2f}, spread {x_T.std():.2f}"
        raise Wrong(checked, "mean 0.00, spread 1.00", got, where, "what is the distribution of x_T?")
