"""Mistakes in step_predict_x0, and right ones in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import ABOVE_ADD_NOISE, NUMPY_SCHEDULER, without_given_t
from grader.lab.shared.reverse_made_up import BEFORE, CLAMPED, END_OF_INIT, EQ11, NOISE, POSTERIOR, TABLES, with_sigmas
from grader.records import Verdict

ROW = "task2.step_x0"
BARE = {SCHEDULER: without_given_t(ROW)}  # t as it comes, as in editions whose steps begin with the TODO

case, style = partial(mistake, ROW), partial(body, ROW)


MISTAKES: tuple[Case, ...] = (
    case("clamped-alpha-bar-at-t0", 3.0, TABLES + CLAMPED + POSTERIOR + NOISE),
    case(
        "clamped-alpha-bar-at-t0",
        3.0,
        TABLES
        + CLAMPED
        + POSTERIOR
        + """
sigma = ((1 - ab_prev) / (1 - ab) * b) ** 0.5
sample_prev = mean + sigma * torch.randn_like(x_t)
""",
        name="clamped-alpha-bar-at-t0-and-noise",
    ),
    case(
        "clamped-alpha-bar-at-t0",
        3.0,
        TABLES + "ab_prev = self.lookup(self.alphas_cumprod, t - 1, x_t)\n" + POSTERIOR + NOISE,
        name="clamped-alpha-bar-at-t0-wrapped",
    ),
    case("x0-treated-as-noise", 1.5, TABLES + EQ11.replace("eps_theta", "x0_pred") + NOISE),
    case(
        "posterior-weights-swapped",
        1.5,
        TABLES
        + BEFORE
        + """
mean = ab_prev.sqrt() * b / (1 - ab) * x_t + a.sqrt() * (1 - ab_prev) / (1 - ab) * x0_pred
"""
        + NOISE,
    ),
    case(
        "posterior-alpha-bar-not-shifted",
        1.5,
        TABLES
        + """
mean = ab.sqrt() * b / (1 - ab) * x0_pred + a.sqrt() * (1 - ab) / (1 - ab) * x_t
"""
        + NOISE,
    ),
    case(
        "posterior-lost-square-root",
        2.5,
        TABLES
        + BEFORE
        + """
c1 = ab_prev * b / (1 - ab)
c2 = a * (1 - ab_prev) / (1 - ab)
mean = c1 * x0_pred + c2 * x_t
"""
        + NOISE,
    ),
    case(
        "posterior-alpha-bar-for-alpha", 2.5, TABLES + BEFORE + POSTERIOR.replace("a.sqrt() *", "ab.sqrt() *") + NOISE
    ),
    case("jump-to-x0", 2.5, "mean = x0_pred\n" + NOISE),
    case(
        "renoised-x0",
        1.0,
        """
if t[0] == 0:
    sample_prev = x0_pred
else:
    sample_prev, _ = self.add_noise(x0_pred, t - 1)
""",
    ),
    case(
        "step-t-off-by-one",
        2.5,
        TABLES.replace("t, x_t) for", "t.sub(1).clamp(min=0), x_t) for")
        + """
before = torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod])
ab_prev = self.lookup(before, (t - 1).clamp(min=0), x_t)
"""
        + POSTERIOR
        + NOISE,
    ),
    case(
        "step-schedule-reversed",
        1.5,
        """
t_rev = self.num_train_timesteps - 1 - t
alphas_cumprod_before = torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod[:-1]])
ab_prev = self.lookup(alphas_cumprod_before, t_rev, x_t)
"""
        + TABLES.replace("t, x_t) for", "t_rev, x_t) for")
        + POSTERIOR
        + NOISE,
    ),
    case(
        "unit-noise",
        2.5,
        TABLES
        + BEFORE
        + POSTERIOR
        + """
sample_prev = mean
if (t > 0).all():
    sample_prev = mean + torch.randn_like(mean)
""",
    ),
    case("variance-t-off-by-one", 2.5, TABLES + BEFORE + POSTERIOR + NOISE.replace("sigmas, t,", "sigmas, t - 1,")),
    case("no-noise-at-all", 2.5, TABLES + BEFORE + POSTERIOR + "sample_prev = mean\n"),
    case(
        "noise-at-t0",
        1.5,
        TABLES + BEFORE + POSTERIOR + "sample_prev = mean + b.sqrt() * torch.randn_like(x_t)\n",
        name="noise-at-t0-and-beta",
    ),
    case(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "prev-is-1-on-ints",
        """
        t = int(t[0])
        prev = self.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0, device=x_t.device)
        bar, beta, alpha = self.alphas_cumprod[t], self.betas[t], self.alphas[t]
        mean = torch.sqrt(prev) * beta / (1 - bar) * x0_pred + torch.sqrt(alpha) * (1 - prev) / (1 - bar) * x_t
        var = beta * (1 - prev) / (1 - bar)
        sample_prev = mean + torch.sqrt(var) * torch.randn_like(x_t) if t > 0 else mean
        """,
    ),
    style(
        "return-x0-at-0",
        """
        t = t if isinstance(t, int) else int(t.flatten()[0])
        if t == 0:
            return x0_pred
        bar, prev = self.alphas_cumprod[t], self.alphas_cumprod[t - 1]
        mean = (prev.sqrt() * self.betas[t] * x0_pred + self.alphas[t].sqrt() * (1 - prev) * x_t) / (1 - bar)
        sample_prev = mean + self.sigmas[t] * torch.randn_like(x_t)
        """,
        BARE,
    ),
    style(
        "clamped-x0",
        """
        x0_pred = x0_pred.clamp(-1.0, 1.0)
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        c1, c2 = prev.sqrt() * beta / (1 - bar), (1 - beta).sqrt() * (1 - prev) / (1 - bar)
        noise = torch.randn_like(x_t) * (t > 0).view(-1, 1, 1, 1)
        sample_prev = c1 * x0_pred + c2 * x_t + torch.sqrt(beta * (1 - prev) / (1 - bar)) * noise
        """,
    ),
    style(
        "by-way-of-the-noise",
        """
        bar = self.lookup(self.alphas_cumprod, t, x_t)
        eps = (x_t - bar.sqrt() * x0_pred) / (1 - bar).sqrt()
        sample_prev = self.step_predict_noise_of_mine(x_t, t, eps)
        """,
        before(
            SCHEDULER,
            ABOVE_ADD_NOISE,
            """\
    def step_predict_noise_of_mine(self, x, t, eps):
        b, a, bar = (self.lookup(table, t, x) for table in (self.betas, self.alphas, self.alphas_cumprod))
        z = torch.randn_like(x) * (t > 0).view(-1, 1, 1, 1)
        return (x - b / (1 - bar).sqrt() * eps) / a.sqrt() + self.lookup(self.sigmas, t, x) * z

""",
        ),
    ),
    style(
        "coefficient-buffers",
        """
        z = torch.randn_like(x_t)
        mask = (t > 0).reshape(-1, 1, 1, 1)
        mean = self.lookup(self.coef_x0, t, x_t) * x0_pred + self.lookup(self.coef_xt, t, x_t) * x_t
        sample_prev = mean + mask * torch.exp(0.5 * self.lookup(self.log_variance, t, x_t)) * z
        """,
        {
            SCHEDULER: [
                (
                    END_OF_INIT,
                    END_OF_INIT
                    + """\
        betas, alphas_cumprod = self.betas.double(), self.alphas_cumprod.double()
        prev = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
        self.register_buffer("coef_x0", (betas * prev.sqrt() / (1 - alphas_cumprod)).float())
        self.register_buffer("coef_xt", ((1 - prev) * (1 - betas).sqrt() / (1 - alphas_cumprod)).float())
        self.register_buffer("log_variance",
                             torch.log((betas * (1 - prev) / (1 - alphas_cumprod)).clamp(min=1e-20)).float())
""",
                )
            ]
        },
    ),
    style(
        "numpy-noise-float64",
        """
        betas = self.betas.double()
        bars = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])
        beta, bar, prev = (v.view(-1, 1, 1, 1) for v in (betas[t], bars[t + 1], bars[t]))
        z = torch.from_numpy(np.random.normal(size=tuple(x_t.shape)))
        mean = (prev.sqrt() * beta * x0_pred.double() + (1 - beta).sqrt() * (1 - prev) * x_t.double()) / (1 - bar)
        sample_prev = (mean + (beta * (1 - prev) / (1 - bar)).sqrt() * z).to(x_t.dtype)
        """,
        NUMPY_SCHEDULER,
    ),
)

MISTAKES = tuple(map(with_sigmas, MISTAKES))
STYLES = tuple(map(with_sigmas, STYLES))
