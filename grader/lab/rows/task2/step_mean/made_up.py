"""Mistakes in step_predict_mean, and right ones in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, body, mistake
from grader.lab.files import SCHEDULER
from grader.lab.shared.made_up import without_given_t
from grader.lab.shared.reverse_made_up import BEFORE, CLAMPED, EQ11, NOISE, POSTERIOR, TABLES, with_sigmas
from grader.records import Verdict

ROW = "task2.step_mean"
BARE = {SCHEDULER: without_given_t(ROW)}  # t as it comes, as in editions whose steps begin with the TODO

case, style = partial(mistake, ROW), partial(body, ROW)


def _mean_then(z: str) -> str:
    """step_predict_mean with another draw `z`."""
    return f"z = {z}\nsigma = self.lookup(self.sigmas, t, x_t)\nsample_prev = mean_theta + sigma * z\n"


MISTAKES: tuple[Case, ...] = (
    case("mean-treated-as-noise", 1.5, TABLES + EQ11.replace("eps_theta", "mean_theta") + NOISE),
    case("mean-treated-as-x0", 2.5, TABLES + BEFORE + POSTERIOR.replace("x0_pred", "mean_theta") + NOISE),
    case("mean-rescaled", 1.5, "mean = mean_theta / self.lookup(self.alphas, t, x_t).sqrt()\n" + NOISE),
    case("mean-ignored", 1.5, "mean = x_t\n" + NOISE),
    case("mean-added-to-xt", 1.5, "mean = x_t + mean_theta\n" + NOISE),
    case("no-noise-at-all", 1.5, "sample_prev = mean_theta"),
    case(
        "noise-at-t0",
        3.0,
        TABLES
        + CLAMPED
        + """
std = torch.sqrt(b * (1 - ab_prev) / (1 - ab))
sample_prev = mean_theta + std * torch.randn_like(mean_theta)
""",
    ),
    case(
        "beta-for-beta-tilde",
        2.5,
        """
sigma = self.betas.sqrt()
sample_prev = mean_theta
if t[0] > 0:
    sample_prev = sample_prev + sigma[t[0]] * torch.randn_like(x_t)
""",
    ),
    case("variance-as-deviation", 2.5, _mean_then("torch.randn_like(x_t)").replace("sigma * z", "sigma ** 2 * z")),
    case(
        "no-noise-at-t1",
        3.5,
        "z = torch.randn_like(x_t) if t[0] > 1 else torch.zeros_like(x_t)  # Alg. 2: t > 1\n"
        "sample_prev = mean_theta + self.lookup(self.sigmas, t, x_t) * z\n",
    ),
    case("step-noise-shared", 2.5, _mean_then("torch.randn(1, *x_t.shape[1:])")),
    case("step-noise-shared", 2.5, _mean_then("torch.randn(len(x_t), 1, 1, 1)"), name="step-noise-shared-by-pixels"),
    case("step-noise-fixed", 2.5, "torch.manual_seed(42)\n" + _mean_then("torch.randn_like(x_t)")),
    case("step-noise-not-gaussian", 2.5, _mean_then("torch.rand_like(x_t)")),
    case(
        "step-noise-not-gaussian",
        2.5,
        _mean_then("(2 * torch.rand_like(x_t) - 1) * 3 ** 0.5"),
        name="step-noise-not-gaussian-of-variance-1",
    ),
    case(None, 0.0, "sample_prev = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "sigmas-if-t",
        """
        t = int(t.reshape(-1)[0]) if torch.is_tensor(t) else t
        sample_prev = mean_theta
        if t > 0:
            sample_prev = mean_theta + self.sigmas[t] * torch.randn_like(mean_theta)
        """,
        BARE,
    ),
    style(
        "own-variance",
        """
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        variance = (1 - prev) / (1 - self.lookup(self.alphas_cumprod, t, x_t)) * self.lookup(self.betas, t, x_t)
        sample_prev = mean_theta + variance.sqrt() * torch.randn_like(x_t)
        """,
    ),
    style(
        "0-d-only",
        """
        assert t.dim() == 0
        z = torch.randn(mean_theta.size(), device=mean_theta.device) if t > 0 else 0
        bar = self.alphas_cumprod
        sample_prev = mean_theta + ((1 - bar[max(t - 1, 0)]) / (1 - bar[t]) * self.betas[t]) ** 0.5 * z
        """,
        BARE,
    ),
    style(
        "distribution",
        """
        sigma = self.lookup(self.sigmas, t, x_t).expand_as(mean_theta)
        drawn = torch.distributions.Normal(mean_theta, sigma.clamp(min=1e-12)).sample()
        sample_prev = torch.where((t == 0).view(-1, 1, 1, 1), mean_theta, drawn)
        """,
    ),
    style(
        "generator-of-the-object",
        """
        if not hasattr(self, "rng"):
            self.rng = torch.Generator().manual_seed(0)
        z = torch.randn(x_t.shape, generator=self.rng).to(x_t.device)
        sample_prev = mean_theta + self.lookup(self.sigmas, t, x_t) * z * (t > 0).float()[:, None, None, None]
        """,
    ),
)

MISTAKES = tuple(map(with_sigmas, MISTAKES))
STYLES = tuple(map(with_sigmas, STYLES))
