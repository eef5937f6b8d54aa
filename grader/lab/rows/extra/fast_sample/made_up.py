"""Mistakes in `fast_sample` as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, body, mistake, swapped
from grader.records import Verdict

ROW = "extra.fast_sample"

FAST = """
steps = list(range(T - 1, -1, -every))
x = x_T
for j, i in enumerate(steps):
    t = torch.full((x.shape[0],), i, dtype=torch.long, device=x.device)
    eps = as_noise(scheduler, x, i, network(x, t), predictor)
    ab = scheduler.alphas_cumprod[i]
    ab_next = scheduler.alphas_cumprod[steps[j + 1]] if j + 1 < len(steps) else torch.tensor(1.0)
    x0_pred = (x - (1 - ab).sqrt() * eps) / ab.sqrt()
    x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps
x_0 = x
"""
PREDICTED = "x0_pred = (x - (1 - ab).sqrt() * eps) / ab.sqrt()"
JUMP = "x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps"
NEXT = "ab_next = scheduler.alphas_cumprod[steps[j + 1]] if j + 1 < len(steps) else torch.tensor(1.0)"
STEPS = "range(T - 1, -1, -every)"
EQ11 = "b = scheduler.betas[i]\n    x = (x - b / (1 - ab).sqrt() * eps) / (1 - b).sqrt()"
POSTERIOR = """ab_prev = scheduler.alphas_cumprod[i - 1] if i > 0 else torch.tensor(1.0)
    b = scheduler.betas[i]
    x = ab_prev.sqrt() * b / (1 - ab) * x0_pred + (1 - b).sqrt() * (1 - ab_prev) / (1 - ab) * x"""
STOCHASTIC = """var = (1 - ab_next) / (1 - ab) * (1 - ab / ab_next)
    x = ab_next.sqrt() * x0_pred + (1 - ab_next - var).clamp(min=0).sqrt() * eps + var.sqrt() * torch.randn_like(x)"""

fast, style = partial(mistake, ROW, points=0.0), partial(body, ROW)


def _fast(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    """The right sampler with some of its text replaced."""
    return fast(diagnosis, body=swapped(FAST, *swaps), name=name)


MISTAKES: tuple[Case, ...] = (
    _fast("fast-one-step-coefficients", (NEXT, "ab_next = scheduler.alphas_cumprod[i - 1] if i else torch.ones(())")),
    _fast("fast-one-step-coefficients", (JUMP, EQ11), name="eq-11"),
    _fast("fast-one-step-coefficients", (JUMP, POSTERIOR), name="eq-7"),
    _fast(
        "fast-one-step-coefficients",
        (
            JUMP,
            EQ11
            + """
    if i > 0:
        x = x + b.sqrt() * torch.randn_like(x)""",
        ),
        name="eq-11-with-noise",
    ),
    _fast("fast-noise-added", (JUMP, JUMP + "\n    x = x + scheduler.betas[i].sqrt() * torch.randn_like(x)")),
    _fast("fast-noise-added", (JUMP, STOCHASTIC), name="eta-1"),
    _fast("fast-noise-added", (JUMP, JUMP.replace("* eps", "* torch.randn_like(x)")), name="renoised"),
    _fast("fast-lost-square-root", (PREDICTED, "x0_pred = (x - (1 - ab) * eps) / ab.sqrt()")),
    _fast("fast-lost-square-root", (PREDICTED, "x0_pred = (x - (1 - ab) ** 0.5 * eps) / ab"), name="by-alpha-bar"),
    _fast("fast-lost-square-root", (JUMP, "x = ab_next * x0_pred + (1 - ab_next) * eps"), name="root-lost-in-jump"),
    _fast("fast-alpha-for-alpha-bar", ("alphas_cumprod", "alphas")),
    _fast("fast-alpha-for-alpha-bar", ("ab = scheduler.alphas_cumprod", "ab = scheduler.alphas"), name="alpha-in-x0"),
    _fast("fast-direction-left-out", (JUMP, "x = ab_next.sqrt() * x0_pred")),
    _fast("fast-direction-of-xt", (JUMP, "x = ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * x")),
    _fast("fast-old-noise-level", (JUMP, "x = ab_next.sqrt() * x0_pred + (1 - ab).sqrt() * eps")),
    _fast("fast-jump-to-x0", (JUMP, "x = x0_pred")),
    _fast("fast-weights-swapped", (JUMP, "x = (1 - ab_next).sqrt() * x0_pred + ab_next.sqrt() * eps")),
    _fast("fast-sign", (JUMP, "x = ab_next.sqrt() * x0_pred - (1 - ab_next).sqrt() * eps")),
    _fast("fast-sign", (PREDICTED, "x0_pred = (x + (1 - ab).sqrt() * eps) / ab.sqrt()"), name="sign-in-x0"),
    _fast(
        "fast-index-shifted",
        ("scheduler.alphas_cumprod[i]", "scheduler.alphas_cumprod[min(i + 1, T - 1)]"),
        ("[steps[j + 1]]", "[steps[j + 1] + 1]"),
    ),
    _fast("fast-last-not-x0", ("torch.tensor(1.0)", "scheduler.alphas_cumprod[0]")),
    _fast("fast-last-not-x0", (NEXT, "ab_next = scheduler.alphas_cumprod[max(i - every, 0)]"), name="clamped-index"),
    _fast("fast-last-not-x0", (NEXT, "ab_next = scheduler.alphas_cumprod[i - every]"), name="wrapped-index"),
    _fast("fast-not-skipping", (STEPS, "range(T - 1, -1, -1)")),
    _fast("fast-upwards", (STEPS, "range(0, T, every)")),
    _fast("fast-last-step-left-out", (STEPS, "range(T - 1, -1, -every)[:-1]")),
    _fast("fast-last-step-left-out", ("enumerate(steps)", "enumerate(steps[:-1])"), name="pairs-only"),
    _fast("fast-network-told-the-count", ("(x.shape[0],), i,", "(x.shape[0],), len(steps) - 1 - j,")),
    _fast("fast-other-stride", (STEPS, "range(T - 1, -1, -(every + 1))")),
    _fast("fast-other-stride", (STEPS, "torch.linspace(T - 1, 0, T // every).long().tolist()"), name="linspace"),
    _fast("fast-starts-elsewhere", (STEPS, "range(T - 1 - every, -1, -every)")),
    _fast("fast-start-redrawn", ("x = x_T", "x = torch.randn_like(x_T)")),
    _fast("fast-predictor-ignored", ("as_noise(scheduler, x, i, network(x, t), predictor)", "network(x, t)")),
    _fast("fast-changed-in-place", (JUMP, "x.copy_(ab_next.sqrt() * x0_pred + (1 - ab_next).sqrt() * eps)")),
    _fast(None, ("x_0 = x", "x_0 = x.clamp(-0.2, 0.2)"), name="clamped-too-much"),
    fast(None, body="x_0 = network(x_T, T)[0].missing", name="crashes", verdict=Verdict.CRASHED),
    fast(None, body="x_0 = None", name="returns-none", verdict=Verdict.MISSING),
)

STYLES: tuple[Style, ...] = (
    style("listed-steps", FAST),
    style("multiples-of-k", FAST.replace(STEPS, "reversed(range(0, T, every))")),
    style(
        "last-step-at-0-too",
        FAST.replace(f"steps = list({STEPS})", f"steps = sorted({{*{STEPS}, 0}}, reverse=True)"),
    ),
    style(
        "clamped-x0",
        FAST.replace(PREDICTED, "x0_pred = ((x - (1 - ab).sqrt() * eps) / ab.sqrt()).clamp(-1, 1)"),
    ),
    style(
        "padded-table-and-int-t",
        """
bars = torch.cat([torch.ones(1), scheduler.alphas_cumprod.cpu()]).double()
x_0 = x_T.clone()
t = T
while t > 0:
    eps = as_noise(scheduler, x_0, t - 1, network(x_0, timestep=t - 1), predictor)
    ab, ab_next = bars[t], bars[max(t - every, 0)]
    ratio = float((ab_next / ab).sqrt())
    x_0 = ratio * x_0 + float((1 - ab_next).sqrt() - ratio * (1 - ab).sqrt()) * eps
    t -= every
""",
    ),
    style(
        "returns-in-the-loop",
        """
x_t = x_T
for t in scheduler.timesteps[::every]:
    eps_theta = as_noise(scheduler, x_t, t, network(x_t, timestep=t.expand(len(x_t))), predictor)
    bar = scheduler.alphas_cumprod[t]
    x_0 = (x_t - torch.sqrt(1 - bar) * eps_theta) / torch.sqrt(bar)
    if t - every < 0:
        break
    bar = scheduler.alphas_cumprod[t - every]
    x_t = torch.sqrt(bar) * x_0 + torch.sqrt(1 - bar) * eps_theta
""",
    ),
)
