"""Mistakes in step_predict_noise, and right ones in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import ABOVE_ADD_NOISE, without_given_t
from grader.lab.shared.reverse_made_up import BEFORE, CLAMPED, EQ11, NOISE, TABLES, with_sigmas
from grader.records import Verdict

ROW = "task2.step_noise"
BARE = {SCHEDULER: without_given_t(ROW)}  # t as it comes, as in editions whose steps begin with the TODO

case, style = partial(mistake, ROW), partial(body, ROW)


def _mean(diagnosis: str, mean: str, points: float = 1.5) -> Case:
    """Another mean, with the right noise."""
    return case(diagnosis, points, f"{TABLES}mean = {mean}\n{NOISE}")


def _spread(sigma: str, tables: str = TABLES + CLAMPED) -> str:
    """step_predict_noise with the right mean and another standard deviation, without noise at t = 0."""
    return tables + EQ11 + f"z = torch.randn_like(x_t) * (t > 0).view(-1, 1, 1, 1)\nsample_prev = mean + {sigma} * z\n"


MISTAKES: tuple[Case, ...] = (
    _mean("one-over-alpha", "1 / a * (x_t - b / (1 - ab).sqrt() * eps_theta)"),
    _mean("scale-left-out", "x_t - b / (1 - ab).sqrt() * eps_theta"),
    _mean("step-lost-square-root", "(x_t - b / (1 - ab) * eps_theta) / a.sqrt()"),
    case(
        "step-alpha-for-alpha-bar",
        2.5,
        TABLES + "\nmean = (x_t - (1 - a) / torch.sqrt(1 - a) * eps_theta) / torch.sqrt(a)\n" + NOISE,
    ),
    _mean("step-alpha-bar-for-alpha", "(x_t - b / (1 - ab) ** .5 * eps_theta) * ab ** -.5", 2.5),
    case(
        "alphas-and-betas-swapped",
        1.5,
        """
b, a = self.lookup(self.alphas, t, x_t), self.lookup(self.betas, t, x_t)
ab = self.lookup(self.alphas_cumprod, t, x_t)
"""
        + EQ11
        + NOISE,
    ),
    _mean("noise-added-back", "(x_t + b / (1 - ab).sqrt() * eps_theta) / a.sqrt()"),
    _mean("all-noise-at-once", "(x_t - (1 - ab).sqrt() * eps_theta) / ab.sqrt()", 2.5),
    _mean("bracket-closed-early", "a ** -0.5 * (x_t - b / (1 - ab) ** 0.5) * eps_theta"),
    case(
        "noise-treated-as-x0",
        1.5,
        TABLES
        + BEFORE
        + """
mean = ab_prev.sqrt() * b / (1 - ab) * eps_theta + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t
"""
        + NOISE,
    ),
    case("step-t-off-by-one", 1.5, TABLES.replace("t, x_t) for", "t - 1, x_t) for") + EQ11 + NOISE),
    case(
        "step-schedule-reversed",
        1.5,
        """
s = self.num_train_timesteps - 1 - t
"""
        + TABLES.replace("t, x_t) for", "s, x_t) for")
        + EQ11
        + NOISE,
    ),
    case("beta-for-beta-tilde", 2.5, _spread("b.sqrt()", TABLES)),
    case("variance-as-deviation", 2.5, _spread("(1 - ab_prev) / (1 - ab) * b")),
    case("square-root-twice", 2.5, _spread("self.lookup(self.sigmas, t, x_t).sqrt()", TABLES)),
    case(
        "variance-alpha-for-alpha-bar",
        2.5,
        _spread(
            "((1 - a_prev) / (1 - a) * b).sqrt()", TABLES + "a_prev = self.lookup(self.alphas, (t - 1).clamp(0), x_t)\n"
        ),
    ),
    case("variance-inverted", 2.5, _spread("torch.sqrt((1 - ab) / (1 - ab_prev) * b)")),
    case("variance-of-forward-process", 2.5, _spread("torch.sqrt(1 - ab)", TABLES)),
    case(
        "noise-at-t0",
        3.0,
        TABLES
        + CLAMPED
        + EQ11
        + """
var = (1 - ab_prev) / (1 - ab) * b
sample_prev = mean + var.sqrt() * torch.randn_like(x_t)
""",
    ),
    case(
        "noise-at-t0",
        1.5,
        TABLES + EQ11 + "sample_prev = mean + b.sqrt() * torch.randn_like(x_t)\n",
        name="noise-at-t0-and-beta",
    ),
    case(
        "no-noise-at-the-other-end",
        3.5,
        _spread("self.lookup(self.sigmas, t, x_t)", TABLES).replace("(t > 0)", "(t < self.num_train_timesteps - 1)"),
    ),
    case(
        "no-noise-at-all",
        2.5,
        TABLES + EQ11 + "sample_prev = mean + self.lookup(self.sigmas, t, x_t)\n",
        name="no-noise-at-all-sigma-without-z",
    ),
    case(
        None,
        3.0,
        TABLES + "before = self.alphas_cumprod.gather(0, t - 1)  # index -1 at t = 0\n" + EQ11 + NOISE,
        name="crashes-at-t0",
        verdict=Verdict.CRASHED,
    ),
    case(
        None,
        3.5,
        TABLES + "ab = torch.where(t.view(-1, 1, 1, 1) == len(self.betas) - 1, 0.0, ab)\n" + EQ11 + NOISE,
        name="wrong-at-the-last-t-alone",
    ),
    case(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "if-t-is-0-on-ints",
        """
        if not isinstance(t, int):
            raise TypeError("t: int")
        beta_t, alpha_t, bar = self.betas[t], self.alphas[t], self.alphas_cumprod[t]
        mean = 1 / torch.sqrt(alpha_t) * (x_t - beta_t / torch.sqrt(1 - bar) * eps_theta)
        if t == 0:
            return mean
        var = (1 - self.alphas_cumprod[t - 1]) / (1 - bar) * beta_t
        sample_prev = mean + torch.sqrt(var) * torch.randn_like(x_t)
        """,
        BARE,
    ),
    style(
        "t-0-d-only",
        """
        assert torch.is_tensor(t) and t.dim() == 0
        z = torch.randn_like(x_t) if t.item() > 0 else torch.zeros_like(x_t)
        mu = (x_t - (1 - self.alphas[t]) / (1 - self.alphas_cumprod[t]) ** 0.5 * eps_theta) / self.alphas[t] ** 0.5
        sample_prev = mu + self.sigmas[t] * z
        """,
        BARE,
    ),
    style(
        "clamped-x0",
        """
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        x0 = ((x_t - (1 - bar).sqrt() * eps_theta) / bar.sqrt()).clamp(-1, 1)
        mean = prev.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - bar) * x_t
        mask = (t > 0).float().view(-1, 1, 1, 1)
        sample_prev = mean + mask * (beta * (1 - prev) / (1 - bar)).sqrt() * torch.randn_like(x_t)
        """,
    ),
    style(
        "predicted-x0-not-clamped",
        """
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        prev = self.lookup(self.alphas_cumprod, t - 1, x_t)
        prev = torch.where((t == 0).view(-1, 1, 1, 1), torch.ones_like(bar), prev)
        x0 = torch.sqrt(1 / bar) * x_t - torch.sqrt(1 / bar - 1) * eps_theta
        mean = (prev.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        sample_prev = torch.normal(mean, (beta * (1 - prev) / (1 - bar)).sqrt().expand_as(mean))
        """,
    ),
    style(
        "helper-method",
        "sample_prev = self._add_sigma(self._eq_11(x_t, t, eps_theta), t)",
        before(
            SCHEDULER,
            ABOVE_ADD_NOISE,
            """\
    def _eq_11(self, x, t, eps):
        b, a, bar = (self.lookup(table, t, x) for table in (self.betas, self.alphas, self.alphas_cumprod))
        return (x - b / (1 - bar).sqrt() * eps) / a.sqrt()

    def _add_sigma(self, mean, t):
        keep = (t != 0).to(mean.dtype).view(-1, 1, 1, 1)
        return mean + keep * self.lookup(self.sigmas, t, mean) * torch.randn_like(mean)

""",
        ),
    ),
    style(
        "t-of-one-entry-only",
        """
        t = t.item()
        z = torch.zeros_like(x_t)
        if t > 0:
            z = torch.randn(x_t.shape, device=x_t.device)
        coefficient = (1 - self.alphas[t]) / torch.sqrt(1 - self.alphas_cumprod[t])
        sample_prev = torch.rsqrt(self.alphas[t]) * (x_t - coefficient * eps_theta) + self.sigmas[t] * z
        """,
        BARE,
    ),
    style(
        "t-of-one-per-image-only",
        """
        if t.shape[0] != x_t.shape[0]:
            raise ValueError("one t per image")
        beta, alpha, bar = (v[t].view(-1, 1, 1, 1) for v in (self.betas, self.alphas, self.alphas_cumprod))
        prev = self.alphas_cumprod[(t - 1).clamp(min=0)].view(-1, 1, 1, 1)
        nonzero = (t > 0).view(-1, 1, 1, 1)
        mean = (x_t - beta * eps_theta / (1 - bar).sqrt()) / alpha.sqrt()
        sample_prev = torch.where(nonzero, mean + (beta * (1 - prev) / (1 - bar)).sqrt() * torch.randn_like(x_t), mean)
        """,
        BARE,
    ),
)

MISTAKES = tuple(map(with_sigmas, MISTAKES))
STYLES = tuple(map(with_sigmas, STYLES))
