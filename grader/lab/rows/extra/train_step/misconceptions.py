"""What a wrong `train_step` may mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.judging.diagnosis import about
from grader.lab.reference import Array, Schedule
from grader.lab.rows.extra.train_step.judge import EQUATION, draws
from grader.lab.shared.warmups import Compute, WarmupCase, WarmupObservation, close, computes, warmup_misconceptions
from grader.lab.torch_draws import TorchGenerator


def stepped(
    t: Callable[[WarmupCase], int] = lambda case: int(draws(case, TorchGenerator)["t"]),
    eps: Compute = lambda case: case.randn(1),
    forward: Callable[[Schedule], tuple[Array, Array]] = lambda s: (np.sqrt(s.ab), np.sqrt(1 - s.ab)),
    time: Callable[[int, int], float] = lambda t, T: t / T,
    scale: Callable[[int, int], float] = lambda n, d: 2 / (n * d),
    target: Callable[[Array, Array], Array] = lambda x, eps: eps,
    update: Callable[[Array, Array, float], Array] = lambda w, g, lr: w - lr * g,
) -> Compute:
    """One training step in which one part is another than the right one."""

    def variant(case: WarmupCase) -> Array:
        (count, d, T), own_t, own_eps, w = case.size, t(case), eps(case), case["w_model"]
        signal, spread = forward(case.schedule)
        x_t = signal[own_t] * case["x_clean"] + spread[own_t] * own_eps
        a = np.hstack([x_t, np.full((count, 1), time(own_t, T))])
        gradient = scale(count, d) * a.T @ (a @ w - target(case["x_clean"], own_eps))
        return np.asarray(update(w, gradient, float(case["lr"]))).ravel()

    return variant


def _seeded(offset: int) -> Callable[[WarmupCase], int]:
    """t of a generator seeded with seed + offset."""
    return lambda case: TorchGenerator(case.seed + offset).randint(case.size[2])


def _noise(offset: int) -> Compute:
    return lambda case: case.randn(offset)


def _drawn_on(case: WarmupCase) -> Array:
    """Noise from the generator that drew t, without a new seed."""
    generator = TorchGenerator(case.seed)
    generator.randint(case.size[2])
    return generator.randn(*case.size[:2])


def _other_t(seen: WarmupObservation) -> bool:
    """Every result is right for some t, though not for the one that the generator gives."""
    pairs = [(case, case.got) for case in seen.cases if case.got is not None and case.size[2] <= 50]

    def some_t(case: WarmupCase, got: Array) -> bool:
        return any(close(got, stepped(t=lambda case, t=t: t)(case)) for t in range(case.size[2]))  # type: ignore[misc]

    return not all(close(got, case.expected) for case, got in pairs) and all(some_t(*pair) for pair in pairs)


CATALOGUE = (
    *about(
        EQUATION,
        (
            "autograd-used",
            "the gradient comes from autograd",
            "Gradients are switched off here. Derive the loss by the prediction first, then carry it through the "
            "product.",
            lambda seen: seen.autograd,
        ),
        (
            "noise-from-used-generator",
            "t and the noise come from the same generator",
            "The noise has a generator of its own, seeded with seed + 1.",
            computes(stepped(eps=_drawn_on)),
        ),
        (
            "train-seed-offset",
            "a draw is made with another seed",
            "`seed` belongs to t, `seed + 1` to the noise.",
            computes(
                *(stepped(eps=_noise(offset)) for offset in (0, 2, 100)),
                *(stepped(t=_seeded(1), eps=_noise(offset)) for offset in (0, 1, 2)),
            ),
        ),
        (
            "gradient-without-d",
            "the gradient is not divided by d: the mean is taken over the N points only",
            "The loss is a mean over all entries of the prediction. How many are there?",
            computes(stepped(scale=lambda n, d: 2 / n)),
        ),
        (
            "gradient-without-n",
            "the gradient is not divided by N: the mean is taken over the features only",
            "The loss is a mean over all entries of the prediction. How many are there?",
            computes(stepped(scale=lambda n, d: 2 / d)),
        ),
        (
            "gradient-of-a-sum",
            "the gradient is that of a sum, not of a mean",
            "The loss is a mean over N d entries: where is the factor 2/(N d)?",
            computes(stepped(scale=lambda n, d: 2.0), stepped(scale=lambda n, d: 1.0)),
        ),
        (
            "gradient-without-2",
            "the 2 from the derivative of the square is missing",
            "What is the derivative of (p − ε)² by p?",
            computes(stepped(scale=lambda n, d: 1 / (n * d))),
        ),
        (
            "product-transposed",
            "the product in the gradient is transposed",
            "The gradient has the shape of the weights, (d+1, d). Its entry (i, j) is about input i and output j.",
            computes(
                stepped(update=lambda w, g, lr: w - lr * g.T.reshape(w.shape)),
                stepped(update=lambda w, g, lr: (w - lr * g).T),
            ),
        ),
        (
            "update-uphill",
            "the step goes uphill",
            "A gradient points to where the loss grows; look at the sign of predicted − ε as well.",
            computes(stepped(update=lambda w, g, lr: w + lr * g)),
        ),
        (
            "train-lost-square-root",
            "a square root is missing in x_t",
            "The squares of the two coefficients of the closed form sum to 1.",
            computes(
                stepped(forward=lambda s: (s.ab, 1 - s.ab)),
                stepped(forward=lambda s: (np.sqrt(s.ab), 1 - s.ab)),
                stepped(forward=lambda s: (s.ab, np.sqrt(1 - s.ab))),
            ),
        ),
        (
            "train-alpha-for-alpha-bar",
            "α_t is used where the cumulative product ᾱ_t belongs",
            "x_t is made from x_0 in one jump: which table tells how much is left after all steps up to t?",
            computes(
                stepped(forward=lambda s: (np.sqrt(s.alphas), np.sqrt(s.betas))),
                stepped(forward=lambda s: (np.sqrt(s.ab), np.sqrt(s.betas))),
            ),
        ),
        (
            "points-as-target",
            "the prediction is compared with the clean points, not with the noise",
            "The model predicts noise: what does its error compare with?",
            computes(stepped(target=lambda x, eps: x)),
        ),
        (
            "gradient-returned",
            "the gradient comes back, or the weights as they were",
            "Return the weights after the step, flattened.",
            computes(
                stepped(update=lambda w, g, lr: g),
                stepped(update=lambda w, g, lr: lr * g),
                stepped(update=lambda w, g, lr: w),
            ),
        ),
        (
            "learning-rate-ignored",
            "the learning rate is left out",
            "The step is lr times the gradient.",
            computes(stepped(update=lambda w, g, lr: w - g)),
        ),
        (
            "t-drawn-otherwise",
            "t is another one than the named generator draws",
            "torch.randint(0, T, (1,), generator=...) with a generator seeded with seed, and nothing else.",
            _other_t,
        ),
    ),
    *warmup_misconceptions("train", EQUATION, lambda time: stepped(time=time)),
)
