"""Made-up mistakes in Task 2's reverse steps, one submission each."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, mistake
from grader.records import Verdict

noise, x0, mean = (partial(mistake, f"task2.step_{predictor}") for predictor in ("noise", "x0", "mean"))

# What students write above and below the line that goes wrong.
TABLES = """
b, a, ab = (self.lookup(table, t, x_t) for table in (self.betas, self.alphas, self.alphas_cumprod))
"""
BEFORE = """
first = (t == 0).view(-1, 1, 1, 1)
ab_prev = torch.where(first, torch.ones_like(ab), self.lookup(self.alphas_cumprod, (t - 1).clamp(min=0), x_t))
"""
CLAMPED = """
t_prev = torch.clamp(t - 1, min=0)
ab_prev = self.lookup(self.alphas_cumprod, t_prev, x_t)
"""
EQ11 = "mean = (x_t - b / torch.sqrt(1 - ab) * eps_theta) / torch.sqrt(a)\n"
NOISE = """
z = torch.randn_like(x_t)
z[t == 0] = 0
sample_prev = mean + self.lookup(self.sigmas, t, x_t) * z
"""


def _spread(sigma: str, tables: str = TABLES + CLAMPED) -> str:
    """step_predict_noise with the right mean and another standard deviation, without noise at t = 0."""
    return tables + EQ11 + f"z = torch.randn_like(x_t) * (t > 0).view(-1, 1, 1, 1)\nsample_prev = mean + {sigma} * z\n"


def _mean_then(z: str) -> str:
    """step_predict_mean with another draw `z`."""
    return f"z = {z}\nsigma = self.lookup(self.sigmas, t, x_t)\nsample_prev = mean_theta + sigma * z\n"


OF_NOISE: tuple[Case, ...] = (
    noise("one-over-alpha", 1.5, TABLES + "mean = 1 / a * (x_t - b / (1 - ab).sqrt() * eps_theta)\n" + NOISE),
    noise("scale-left-out", 1.5, TABLES + "mean = x_t - b / (1 - ab).sqrt() * eps_theta\n" + NOISE),
    noise("step-lost-square-root", 1.5, TABLES + "mean = (x_t - b / (1 - ab) * eps_theta) / a.sqrt()\n" + NOISE),
    noise(
        "step-alpha-for-alpha-bar",
        2.5,
        TABLES
        + """
mean = (x_t - (1 - a) / torch.sqrt(1 - a) * eps_theta) / torch.sqrt(a)
"""
        + NOISE,
    ),
    noise(
        "step-alpha-bar-for-alpha", 2.5, TABLES + "mean = (x_t - b / (1 - ab) ** .5 * eps_theta) * ab ** -.5\n" + NOISE
    ),
    noise(
        "alphas-and-betas-swapped",
        1.5,
        """
b, a = self.lookup(self.alphas, t, x_t), self.lookup(self.betas, t, x_t)
ab = self.lookup(self.alphas_cumprod, t, x_t)
"""
        + EQ11
        + NOISE,
    ),
    noise("noise-added-back", 1.5, TABLES + "mean = (x_t + b / (1 - ab).sqrt() * eps_theta) / a.sqrt()\n" + NOISE),
    noise("all-noise-at-once", 2.5, TABLES + "mean = (x_t - (1 - ab).sqrt() * eps_theta) / ab.sqrt()\n" + NOISE),
    noise("bracket-closed-early", 1.5, TABLES + "mean = a ** -0.5 * (x_t - b / (1 - ab) ** 0.5) * eps_theta\n" + NOISE),
    noise(
        "noise-treated-as-x0",
        1.5,
        TABLES
        + BEFORE
        + """
mean = ab_prev.sqrt() * b / (1 - ab) * eps_theta + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t
"""
        + NOISE,
    ),
    noise("step-t-off-by-one", 1.5, TABLES.replace("t, x_t) for", "t - 1, x_t) for") + EQ11 + NOISE),
    noise(
        "step-schedule-reversed",
        1.5,
        """
s = self.num_train_timesteps - 1 - t
"""
        + TABLES.replace("t, x_t) for", "s, x_t) for")
        + EQ11
        + NOISE,
    ),
    noise("beta-for-beta-tilde", 2.5, _spread("b.sqrt()", TABLES)),
    noise("variance-as-deviation", 2.5, _spread("(1 - ab_prev) / (1 - ab) * b")),
    noise("square-root-twice", 2.5, _spread("self.lookup(self.sigmas, t, x_t).sqrt()", TABLES)),
    noise(
        "variance-alpha-for-alpha-bar",
        2.5,
        _spread(
            "((1 - a_prev) / (1 - a) * b).sqrt()", TABLES + "a_prev = self.lookup(self.alphas, (t - 1).clamp(0), x_t)\n"
        ),
    ),
    noise("variance-inverted", 2.5, _spread("torch.sqrt((1 - ab) / (1 - ab_prev) * b)")),
    noise("variance-of-forward-process", 2.5, _spread("torch.sqrt(1 - ab)", TABLES)),
    noise(
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
    noise(
        "noise-at-t0",
        1.5,
        TABLES + EQ11 + "sample_prev = mean + b.sqrt() * torch.randn_like(x_t)\n",
        name="noise-at-t0-and-beta",
    ),
    noise(
        "no-noise-at-the-other-end",
        3.5,
        _spread("self.lookup(self.sigmas, t, x_t)", TABLES).replace("(t > 0)", "(t < self.num_train_timesteps - 1)"),
    ),
    noise(
        "no-noise-at-all",
        2.5,
        TABLES + EQ11 + "sample_prev = mean + self.lookup(self.sigmas, t, x_t)\n",
        name="no-noise-at-all-sigma-without-z",
    ),
    noise(
        None,
        3.0,
        TABLES + "before = self.alphas_cumprod.gather(0, t - 1)  # index -1 at t = 0\n" + EQ11 + NOISE,
        name="crashes-at-t0",
        verdict=Verdict.CRASHED,
    ),
    noise(
        None,
        3.5,
        TABLES + "ab = torch.where(t.view(-1, 1, 1, 1) == len(self.betas) - 1, 0.0, ab)\n" + EQ11 + NOISE,
        name="wrong-at-the-last-t-alone",
    ),
    noise(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

POSTERIOR = "mean = ab_prev.sqrt() * b / (1 - ab) * x0_pred + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t\n"

OF_X0: tuple[Case, ...] = (
    x0("clamped-alpha-bar-at-t0", 3.0, TABLES + CLAMPED + POSTERIOR + NOISE),
    x0(
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
    x0(
        "clamped-alpha-bar-at-t0",
        3.0,
        TABLES + "ab_prev = self.lookup(self.alphas_cumprod, t - 1, x_t)\n" + POSTERIOR + NOISE,
        name="clamped-alpha-bar-at-t0-wrapped",
    ),
    x0("x0-treated-as-noise", 1.5, TABLES + EQ11.replace("eps_theta", "x0_pred") + NOISE),
    x0(
        "posterior-weights-swapped",
        1.5,
        TABLES
        + BEFORE
        + """
mean = ab_prev.sqrt() * b / (1 - ab) * x_t + a.sqrt() * (1 - ab_prev) / (1 - ab) * x0_pred
"""
        + NOISE,
    ),
    x0(
        "posterior-alpha-bar-not-shifted",
        1.5,
        TABLES
        + """
mean = ab.sqrt() * b / (1 - ab) * x0_pred + a.sqrt() * (1 - ab) / (1 - ab) * x_t
"""
        + NOISE,
    ),
    x0(
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
    x0("posterior-alpha-bar-for-alpha", 2.5, TABLES + BEFORE + POSTERIOR.replace("a.sqrt() *", "ab.sqrt() *") + NOISE),
    x0("jump-to-x0", 2.5, "mean = x0_pred\n" + NOISE),
    x0(
        "renoised-x0",
        1.0,
        """
if t[0] == 0:
    sample_prev = x0_pred
else:
    sample_prev, _ = self.add_noise(x0_pred, t - 1)
""",
    ),
    x0(
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
    x0(
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
    x0(
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
    x0("variance-t-off-by-one", 2.5, TABLES + BEFORE + POSTERIOR + NOISE.replace("sigmas, t,", "sigmas, t - 1,")),
    x0("no-noise-at-all", 2.5, TABLES + BEFORE + POSTERIOR + "sample_prev = mean\n"),
    x0(
        "noise-at-t0",
        1.5,
        TABLES + BEFORE + POSTERIOR + "sample_prev = mean + b.sqrt() * torch.randn_like(x_t)\n",
        name="noise-at-t0-and-beta",
    ),
    x0(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

OF_MEAN: tuple[Case, ...] = (
    mean("mean-treated-as-noise", 1.5, TABLES + EQ11.replace("eps_theta", "mean_theta") + NOISE),
    mean("mean-treated-as-x0", 2.5, TABLES + BEFORE + POSTERIOR.replace("x0_pred", "mean_theta") + NOISE),
    mean("mean-rescaled", 1.5, "mean = mean_theta / self.lookup(self.alphas, t, x_t).sqrt()\n" + NOISE),
    mean("mean-ignored", 1.5, "mean = x_t\n" + NOISE),
    mean("mean-added-to-xt", 1.5, "mean = x_t + mean_theta\n" + NOISE),
    mean("no-noise-at-all", 1.5, "sample_prev = mean_theta"),
    mean(
        "noise-at-t0",
        3.0,
        TABLES
        + CLAMPED
        + """
std = torch.sqrt(b * (1 - ab_prev) / (1 - ab))
sample_prev = mean_theta + std * torch.randn_like(mean_theta)
""",
    ),
    mean(
        "beta-for-beta-tilde",
        2.5,
        """
sigma = self.betas.sqrt()
sample_prev = mean_theta
if t[0] > 0:
    sample_prev = sample_prev + sigma[t[0]] * torch.randn_like(x_t)
""",
    ),
    mean("variance-as-deviation", 2.5, _mean_then("torch.randn_like(x_t)").replace("sigma * z", "sigma ** 2 * z")),
    mean(
        "no-noise-at-t1",
        3.5,
        "z = torch.randn_like(x_t) if t[0] > 1 else torch.zeros_like(x_t)  # Alg. 2: t > 1\n"
        "sample_prev = mean_theta + self.lookup(self.sigmas, t, x_t) * z\n",
    ),
    mean("step-noise-shared", 2.5, _mean_then("torch.randn(1, *x_t.shape[1:])")),
    mean("step-noise-shared", 2.5, _mean_then("torch.randn(len(x_t), 1, 1, 1)"), name="step-noise-shared-by-pixels"),
    mean("step-noise-fixed", 2.5, "torch.manual_seed(42)\n" + _mean_then("torch.randn_like(x_t)")),
    mean("step-noise-not-gaussian", 2.5, _mean_then("torch.rand_like(x_t)")),
    mean(
        "step-noise-not-gaussian",
        2.5,
        _mean_then("(2 * torch.rand_like(x_t) - 1) * 3 ** 0.5"),
        name="step-noise-not-gaussian-of-variance-1",
    ),
    mean(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

CASES = OF_NOISE + OF_X0 + OF_MEAN
