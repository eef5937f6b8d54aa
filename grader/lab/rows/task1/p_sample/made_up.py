"""Mistakes in p_sample, as students make them, and right reverse steps in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, body
from grader.lab.files import DDPM
from grader.lab.shared.made_up import NUMPY_DDPM
from grader.records import Verdict

ROW = "task1.p_sample"
MEAN_LOST, VARIANCE_LOST = 1.5, 2.5  # a wrong mean costs all means, the last one included
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
GIVEN_T = "        t = one_t_per_point(t, xt)  # (B,)\n\n"  # in p_sample alone
INIT_END = "        super().__init__()\n        self.network = network\n        self.var_scheduler = var_scheduler\n"
ABOVE_MODULE = "class DiffusionModule(nn.Module):\n"
IMPORTS = "import torch.nn.functional as F\n"
WITHOUT_GIVEN_T = {DDPM: [(GIVEN_T, "")]}  # as in editions whose p_sample leaves t as it comes

style = partial(body, ROW)


def _step(style: str, diagnosis: str, body: str, points: float) -> Case:
    return Case(f"p_sample-{style}", ROW, points, diagnosis, bodies={ROW: body})


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


_MEANS = (
    _step("returns-xt", "network-not-asked", "x_t_prev = xt", 0.0),
    Case("p_sample-returns-none", ROW, 0.0, bodies={ROW: "x_t_prev = None"}, verdict=Verdict.NOT_IMPLEMENTED),
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

MISTAKES: tuple[Case, ...] = _MEANS + _SPREADS

STYLES: tuple[Style, ...] = (
    style(
        "if-t-is-0-on-ints",
        """
        s = self.var_scheduler
        eps = self.network(xt, torch.full((xt.shape[0],), t, device=xt.device, dtype=torch.long))
        mu = 1 / torch.sqrt(s.alphas[t]) * (xt - s.betas[t] / torch.sqrt(1 - s.alphas_cumprod[t]) * eps)
        if t == 0:
            x_t_prev = mu
        else:
            var = (1 - s.alphas_cumprod[t - 1]) / (1 - s.alphas_cumprod[t]) * s.betas[t]
            x_t_prev = mu + torch.sqrt(var) * torch.randn_like(xt)
        """,
        WITHOUT_GIVEN_T,
    ),
    style(
        "isinstance-int-else-crash",
        """
        if not isinstance(t, int):
            raise TypeError("t is an int")
        b, a, ab = (table[t] for table in (self.var_scheduler.betas, self.var_scheduler.alphas,
                                           self.var_scheduler.alphas_cumprod))
        ab_prev = self.var_scheduler.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
        z = torch.randn(xt.shape, device=xt.device) if t > 0 else torch.zeros_like(xt)
        eps_theta = self.network(xt, torch.tensor([t], device=xt.device))
        x_t_prev = (xt - (1 - a) / (1 - ab).sqrt() * eps_theta) / a.sqrt() + ((1 - ab_prev) / (1 - ab) * b).sqrt() * z
        """,
        WITHOUT_GIVEN_T,
    ),
    style(
        "t-of-one-per-point-only",
        """
        assert t.shape == (xt.shape[0],), "t: (B,)"
        beta, alpha, abar = (torch.gather(table, 0, t)[:, None] for table in (
            self.var_scheduler.betas, self.var_scheduler.alphas, self.var_scheduler.alphas_cumprod))
        prev = torch.gather(self.var_scheduler.alphas_cumprod, 0, torch.clamp(t - 1, min=0))[:, None]
        mask = (t != 0).float().view(-1, 1)
        model_out = self.network(xt, t)
        mean = torch.rsqrt(alpha) * (xt - beta * torch.rsqrt(1 - abar) * model_out)
        x_t_prev = mean + mask * torch.sqrt((1 - prev) / (1 - abar) * beta) * torch.randn_like(xt)
        """,
        WITHOUT_GIVEN_T,
    ),
    style(
        "t-of-one-entry-only",
        """
        if t.shape != (1,):
            raise ValueError("t has shape (1,)")
        beta_t = extract(self.var_scheduler.betas, t, xt)
        alpha_t = extract(self.var_scheduler.alphas, t, xt)
        alpha_bar_t = extract(self.var_scheduler.alphas_cumprod, t, xt)
        eps = self.network(xt, t)
        x_t_prev = (xt - beta_t / (1 - alpha_bar_t).sqrt() * eps) / alpha_t.sqrt()
        if t.item() > 0:
            alpha_bar_prev = extract(self.var_scheduler.alphas_cumprod, t - 1, xt)
            x_t_prev += torch.sqrt(beta_t * (1 - alpha_bar_prev) / (1 - alpha_bar_t)) * torch.randn_like(xt)
        """,
        WITHOUT_GIVEN_T,
    ),
    style(
        "t-0-d-only",
        """
        assert t.dim() == 0
        sch = self.var_scheduler
        noise = torch.randn_like(xt) if bool(t > 0) else 0.0
        eps = self.network(xt, t.expand(len(xt)))
        sigma = torch.sqrt((1 - sch.alphas_cumprod[t - 1]) / (1 - sch.alphas_cumprod[t]) * sch.betas[t])
        x_t_prev = (xt - sch.betas[t] / (1 - sch.alphas_cumprod[t]) ** 0.5 * eps) / sch.alphas[t] ** 0.5 + sigma * noise
        """,
        WITHOUT_GIVEN_T,
    ),
    style(
        "by-predicted-x0",
        """
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = torch.where((t == 0)[:, None], torch.ones_like(abar),
                                extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(0), xt))
        eps = self.network(xt, t)
        x0_hat = (xt - (1 - abar).sqrt() * eps) / abar.sqrt()
        mean = (abar_prev.sqrt() * beta_t * x0_hat + (1 - beta_t).sqrt() * (1 - abar_prev) * xt) / (1 - abar)
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * torch.randn_like(xt)
        """,
    ),
    style(
        "posterior-coefficient-buffers",
        """
        x0_hat = self._predict_x0(xt, t, self.network(xt, t))
        mean = extract(self.coef1, t, xt) * x0_hat + extract(self.coef2, t, xt) * xt
        z = torch.randn_like(xt)
        z[t == 0] = 0
        x_t_prev = mean + torch.exp(0.5 * extract(self.log_var, t, xt)) * z
        """,
        {
            DDPM: [
                (
                    INIT_END,
                    INIT_END
                    + """\
        s = var_scheduler
        prev = F.pad(s.alphas_cumprod[:-1].double(), (1, 0), value=1.0)
        betas, abar = s.betas.double(), s.alphas_cumprod.double()
        var = betas * (1 - prev) / (1 - abar)
        self.register_buffer("log_var", var.clamp(min=1e-20).log().float(), persistent=False)
        self.register_buffer("coef1", (betas * prev.sqrt() / (1 - abar)).float(), persistent=False)
        self.register_buffer("coef2", ((1 - prev) * (1 - betas).sqrt() / (1 - abar)).float(), persistent=False)

    def _predict_x0(self, xt, t, eps):
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        return torch.sqrt(1 / abar) * xt - torch.sqrt(1 / abar - 1) * eps
""",
                )
            ]
        },
    ),
    style(
        "torch-normal",
        """
        beta_t, alpha_t, abar = (extract(b, t, xt) for b in (self.var_scheduler.betas, self.var_scheduler.alphas,
                                                             self.var_scheduler.alphas_cumprod))
        abar_prev = F.pad(self.var_scheduler.alphas_cumprod, (1, 0), value=1.0)[t].unsqueeze(1)
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / alpha_t.sqrt()
        std = (beta_t * (1 - abar_prev) / (1 - abar)).sqrt()
        x_t_prev = torch.normal(mean, std.expand_as(mean))
        """,
    ),
    style(
        "numpy-noise",
        """
        z = torch.from_numpy(np.random.randn(*xt.shape)).to(xt) * (t > 0).to(xt).view(-1, 1)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        eps = self.network(xt, t)
        x_t_prev = (xt - beta_t / (1 - abar).sqrt() * eps) / (1 - beta_t).sqrt()
        x_t_prev = x_t_prev + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """,
        NUMPY_DDPM,
    ),
    style(
        "numpy-generator-of-the-module",
        """
        z = torch.as_tensor(RNG.standard_normal(xt.shape), dtype=xt.dtype)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        abar_prev = torch.where(t[:, None] > 0, abar_prev, torch.ones_like(abar_prev))
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / (1 - beta_t).sqrt()
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """,
        {
            DDPM: [
                (IMPORTS, "import numpy as np\n" + IMPORTS),
                (ABOVE_MODULE, "RNG = np.random.default_rng()\n\n\n" + ABOVE_MODULE),
            ]
        },
    ),
    style(
        "generator-of-the-object",
        """
        z = torch.randn(xt.shape, generator=self.generator)
        z = torch.where((t == 0).unsqueeze(-1), torch.zeros_like(z), z)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / (1 - beta_t).sqrt()
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """,
        {DDPM: [(INIT_END, INIT_END + "        self.generator = torch.Generator().manual_seed(42)\n")]},
    ),
    style(
        "generator-of-the-call",
        """
        generator = torch.Generator(device=xt.device)
        generator.manual_seed(torch.initial_seed())
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        eps = self.network(xt, t)
        x_t_prev = (xt - beta_t / (1 - abar).sqrt() * eps) / (1 - beta_t).sqrt()
        if (t > 0).all():
            abar_prev = extract(self.var_scheduler.alphas_cumprod, t - 1, xt)
            z = torch.randn(xt.shape, generator=generator, device=xt.device)
            x_t_prev = x_t_prev + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """,
    ),
    style(
        "float64-inside",
        """
        betas = self.var_scheduler.betas.double()
        abars = torch.cumprod(1 - betas, 0)
        beta_t, abar = betas[t].view(-1, 1), abars[t].view(-1, 1)
        abar_prev = torch.cat([torch.ones(1).double(), abars])[t].view(-1, 1)
        eps = self.network(xt, t).double()
        mean = (xt.double() - beta_t * eps / torch.sqrt(1 - abar)) / torch.sqrt(1 - beta_t)
        noise = torch.randn(xt.shape, dtype=torch.float64)
        x_t_prev = (mean + torch.sqrt((1 - abar_prev) / (1 - abar) * beta_t) * noise).float()
        """,
    ),
)
