"""Mistakes in p_sample and p_sample_loop, as students make them."""

from __future__ import annotations

from grader.judging.made_up import Case
from grader.lab.files import TASK1
from grader.records import Verdict

STEP, LOOP = "task1.p_sample", "task1.p_sample_loop"
MEAN_LOST, VARIANCE_LOST = 1.5, 2.5  # a wrong mean costs all means, the last one included
ORDER_LOST, ONE_LOST = 2.5, 3.0
TABLES = """
beta = extract(self.var_scheduler.betas, t, xt)
alpha = extract(self.var_scheduler.alphas, t, xt)
ab = extract(self.var_scheduler.alphas_cumprod, t, xt)
ab_prev = torch.where((t > 0)[:, None], extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt), 1.0)
later = (t > 0).float()[:, None]
"""
EPS = "eps = self.network(xt, t)"
EQ_11 = "(xt - beta / torch.sqrt(1 - ab) * eps) / torch.sqrt(alpha)"
SIGMA = "torch.sqrt((1 - ab_prev) / (1 - ab) * beta)"


def _step(style: str, diagnosis: str, body: str, points: float) -> Case:
    return Case(f"p_sample-{style}", STEP, points, diagnosis, bodies={STEP: body})


def _mean(style: str, diagnosis: str, mean: str, points: float = MEAN_LOST, eps: str = EPS) -> Case:
    """Another mean, with the right noise."""
    return _step(
        style, diagnosis, f"{TABLES}{eps}\nmean = {mean}\nx_t_prev = mean + {SIGMA} * torch.randn_like(xt)", points
    )


def _noise(style: str, diagnosis: str, noise: str, points: float = VARIANCE_LOST) -> Case:
    """The right mean, with other noise."""
    return _step(style, diagnosis, f"{TABLES}{EPS}\nx_t_prev = {EQ_11} + {noise}", points)


def _sigma(style: str, diagnosis: str, sigma: str, points: float = VARIANCE_LOST) -> Case:
    """The right mean, with noise of another size; none at t = 0."""
    return _noise(style, diagnosis, f"later * torch.nan_to_num({sigma}) * torch.randn_like(xt)", points)


def _loop(style: str, diagnosis: str, body: str, points: float) -> Case:
    return Case(f"p_sample_loop-{style}", LOOP, points, diagnosis, bodies={LOOP: body})


def _visits(style: str, diagnosis: str, steps: str, points: float = ORDER_LOST) -> Case:
    return _loop(
        style,
        diagnosis,
        "T = self.var_scheduler.num_train_timesteps\n"
        f"x = torch.randn(shape).to(self.device)\nfor t in {steps}:\n    x = self.p_sample(x, t)\n"
        "x0_pred = x",
        points,
    )


def _starts(style: str, diagnosis: str, start: str) -> Case:
    return _loop(
        style,
        diagnosis,
        f"xt = {start}\n"
        "for t in range(self.var_scheduler.num_train_timesteps - 1, -1, -1):\n"
        "    xt = self.p_sample(xt, torch.full((shape[0],), t, device=self.device))\nx0_pred = xt",
        ONE_LOST,
    )


_MEANS = (
    _step("returns-xt", "network-not-asked", "x_t_prev = xt", 0.0),
    Case("p_sample-returns-none", STEP, 0.0, bodies={STEP: "x_t_prev = None"}, verdict=Verdict.NOT_IMPLEMENTED),
    _mean(
        "network-one-t-early", "network-asked-at-other-t", EQ_11, 2.5, "eps = self.network(xt, (t - 1).clamp(min=0))"
    ),
    _mean(
        "network-scaled-t",
        "network-asked-at-other-t",
        EQ_11,
        2.5,
        "eps = self.network(xt, t / self.var_scheduler.num_train_timesteps)",
    ),
    _mean("one-over-alpha", "one-over-alpha", "(xt - beta / torch.sqrt(1 - ab) * eps) / alpha"),
    _mean("scale-left-out", "scale-left-out", "xt - beta / torch.sqrt(1 - ab) * eps"),
    _mean("lost-square-root", "step-lost-square-root", "(xt - beta / (1 - ab) * eps) / torch.sqrt(alpha)"),
    _mean(
        "alpha-for-alpha-bar", "step-alpha-for-alpha-bar", "(xt - beta / (1 - alpha).sqrt() * eps) / alpha.sqrt()", 2.5
    ),
    _mean("alpha-bar-for-alpha", "step-alpha-bar-for-alpha", "(xt - beta / (1 - ab) ** 0.5 * eps) / ab ** 0.5", 2.5),
    _mean("alphas-and-betas-swapped", "alphas-and-betas-swapped", "(xt - alpha / (1 - ab).sqrt() * eps) / beta.sqrt()"),
    _mean("noise-added-back", "noise-added-back", "(xt + beta / torch.sqrt(1 - ab) * eps) / torch.sqrt(alpha)"),
    _mean("all-noise-at-once", "all-noise-at-once", "(xt - (1 - ab).sqrt() * eps) / ab.sqrt()", 2.5),
    _mean("bracket-closed-early", "bracket-closed-early", "alpha.rsqrt() * (xt - beta / (1 - ab).sqrt()) * eps"),
    _mean(
        "noise-as-x0",
        "noise-treated-as-x0",
        "(alpha.sqrt() * (1 - ab_prev) * xt + ab_prev.sqrt() * beta * eps) / (1 - ab)",
    ),
    _step(
        "t-off-by-one",
        "step-t-off-by-one",
        f"""
        tables = self.var_scheduler
        t_now = torch.clamp(t - 1, min=0)
        beta, alpha, ab = (table[t_now].unsqueeze(1) for table in (tables.betas, tables.alphas, tables.alphas_cumprod))
        eps = self.network(xt, t)
        mean = {EQ_11}
        beta, ab = tables.betas[t][:, None], tables.alphas_cumprod[t][:, None]
        ab_prev = torch.where((t > 0)[:, None], tables.alphas_cumprod[t - 1][:, None], torch.ones_like(ab))
        x_t_prev = mean + {SIGMA} * torch.randn_like(xt)
    """,
        2.5,
    ),
    _step(
        "schedule-reversed",
        "step-schedule-reversed",
        f"""{TABLES}
s = len(self.var_scheduler.betas) - 1 - t
noise = {SIGMA} * torch.randn_like(xt)
beta, alpha, ab = (getattr(self.var_scheduler, n)[s][:, None] for n in ("betas", "alphas", "alphas_cumprod"))
{EPS}
x_t_prev = {EQ_11} + noise
    """,
        MEAN_LOST,
    ),
)

_SPREADS = (
    _noise(
        "noise-at-t0",
        "noise-at-t0",
        "torch.where(later > 0, (1 - ab_prev) / (1 - ab) * beta, beta).sqrt() * torch.randn_like(xt)",
        3.0,
    ),
    _step(
        "clamped-alpha-bar",
        "noise-at-t0",
        f"""
        beta, alpha = self.var_scheduler.betas[t].view(-1, 1), self.var_scheduler.alphas[t].view(-1, 1)
        ab = self.var_scheduler.alphas_cumprod[t].view(-1, 1)
        ab_prev = self.var_scheduler.alphas_cumprod[torch.clamp(t - 1, min=0)].view(-1, 1)
        eps = self.network(xt, t)
        x_t_prev = {EQ_11} + {SIGMA} * torch.randn_like(xt)
    """,
        3.0,
    ),
    _noise("no-noise-at-t1", "no-noise-at-t1", f"(t > 1)[:, None] * {SIGMA} * torch.randn_like(xt)", 3.5),
    _noise(
        "no-noise-at-the-other-end",
        "no-noise-at-the-other-end",
        f"(t < len(self.var_scheduler.betas) - 1)[:, None] * {SIGMA} * torch.randn_like(xt)",
        3.5,
    ),
    _step("no-noise", "no-noise-at-all", f"{TABLES}{EPS}\nx_t_prev = {EQ_11}", VARIANCE_LOST),
    _noise("counts-from-1", "no-noise-at-t1", f"(t > 1).float()[:, None] * {SIGMA} * torch.randn_like(xt)", 3.5),
    _noise(
        "no-noise-at-the-start",
        "no-noise-at-the-other-end",
        f"(t < len(self.var_scheduler.betas) - 1).float()[:, None] * {SIGMA} * torch.randn_like(xt)",
        3.5,
    ),
    _sigma("beta", "beta-for-beta-tilde", "beta.sqrt()"),
    _sigma("variance-as-deviation", "variance-as-deviation", "(1 - ab_prev) / (1 - ab) * beta"),
    _sigma("square-root-twice", "square-root-twice", f"{SIGMA}.sqrt()"),
    _sigma(
        "alpha-in-the-variance",
        "variance-alpha-for-alpha-bar",
        "((1 - extract(self.var_scheduler.alphas, (t - 1).clamp(min=0), xt)) / (1 - alpha) * beta).sqrt()",
    ),
    _sigma("variance-inverted", "variance-inverted", "((1 - ab) / (1 - ab_prev).clamp(min=1e-9) * beta).sqrt()"),
    _sigma("forward-variance", "variance-of-forward-process", "(1 - ab).sqrt()"),
    _sigma("unit-noise", "unit-noise", "torch.ones_like(beta)"),
    _sigma(
        "variance-one-t-early",
        "variance-t-off-by-one",
        "((1 - extract(self.var_scheduler.alphas_cumprod, "
        "(t - 2).clamp(min=0), xt) * (t > 1)[:, None] - (t <= 1).float()[:, None]) / (1 - ab_prev) "
        "* extract(self.var_scheduler.betas, (t - 1).clamp(min=0), xt)).sqrt()",
    ),
    _noise("shared-noise", "step-noise-shared", f"{SIGMA} * torch.randn(1, xt.shape[1])"),
    _noise("noise-shared-by-coordinates", "step-noise-shared", f"{SIGMA} * torch.randn(len(xt), 1, device=xt.device)"),
    _noise(
        "seeded-noise",
        "step-noise-fixed",
        f"{SIGMA} * torch.randn(xt.shape, generator=torch.Generator().manual_seed(42))",
    ),
    _noise("uniform-noise", "step-noise-not-gaussian", f"{SIGMA} * 3 ** 0.5 * (2 * torch.rand_like(xt) - 1)"),
    _noise("rand-for-randn", "step-noise-not-gaussian", f"{SIGMA} * torch.rand_like(xt)"),
)

_LOOPS = (
    _visits("upwards", "loop-upwards", "range(T)"),
    _visits("stops-at-1", "loop-stops-at-1", "range(T - 1, 0, -1)"),
    _visits("starts-at-T", "loop-starts-at-T", "range(T, 0, -1)"),
    _visits("starts-at-T-to-0", "loop-starts-at-T", "range(T, -1, -1)"),
    _visits("skips-the-first", "loop-skips-the-first-step", "reversed(range(T - 1))"),
    _visits("one-step", "loop-one-step", "[T - 1]", 1.5),
    _visits("random-t", "loop-random-t", "torch.randint(T, (T,)).tolist()"),
    _loop("placeholder", "loop-without-steps", "x0_pred = torch.zeros(shape)", 0.0),
    _loop("noise-only", "loop-without-steps", "x0_pred = torch.randn(shape, device=self.device)", 0.0),
    _starts("from-zeros", "start-from-zeros", "torch.zeros(shape, device=self.device)"),
    _starts("from-ones", "start-from-zeros", "torch.ones(shape)"),
    _starts("from-uniform", "start-from-uniform", "torch.rand(shape)"),
    _starts("shared-start", "start-shared", "torch.randn(1, *shape[1:]).repeat(shape[0], 1)"),
    _starts("coordinates-shared", "start-shared", "torch.randn(shape[0], 1).expand(shape)"),
    _starts("scaled-start", "start-not-standard", "torch.randn(shape) * (1 - self.var_scheduler.alphas_cumprod[-1])"),
    _loop(
        "result-dropped",
        "step-result-dropped",
        """
        xt = torch.randn(shape)
        for t in reversed(range(self.var_scheduler.num_train_timesteps)):
            x0_pred = self.p_sample(xt, t)
    """,
        ONE_LOST,
    ),
    _loop(
        "returns-the-start",
        "loop-returns-another-state",
        """
        trajectory = [torch.randn(shape, device=self.device)]
        for t in torch.arange(self.var_scheduler.num_train_timesteps).flip(0):
            trajectory.append(self.p_sample(trajectory[-1], t))
        x0_pred = trajectory[0]
    """,
        ONE_LOST,
    ),
    _loop(
        "clamped-result",
        "loop-returns-another-state",
        """
        xt = torch.randn(shape)
        for t in range(len(self.var_scheduler.betas))[::-1]:
            xt = self.p_sample(xt, t)
        x0_pred = xt.clamp(-1, 1)
    """,
        ONE_LOST,
    ),
    Case(
        "p_sample_loop-keeps-gradient",
        LOOP,
        3.5,
        "loop-keeps-gradient",
        replace={f"{TASK1}/ddpm.py": [("    @torch.no_grad()\n", "")]},
    ),
)

CASES = _MEANS + _SPREADS + _LOOPS
