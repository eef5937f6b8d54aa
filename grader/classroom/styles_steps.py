"""Right reverse steps of the image half, in many styles."""

from __future__ import annotations

from grader.classroom.styles import SCHEDULER, Pairs, Style, before, body
from grader.classroom.styles_task2 import ABOVE_ADD_NOISE, NUMPY_SCHEDULER, without_given_t

END_OF_INIT = "        self.sigma_type = sigma_type\n"


def _step(predictor: str, *styles: tuple[str, str, dict[str, Pairs] | None]) -> tuple[Style, ...]:
    return tuple(body(f"task2.step_{predictor}", name, text, replace) for name, text, replace in styles)


def _bare(predictor: str) -> dict[str, Pairs]:
    """t as it comes, as in editions whose steps begin with the TODO."""
    return {SCHEDULER: without_given_t(f"task2.step_{predictor}")}


STEP_NOISE = _step(
    "noise",
    (
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
        _bare("noise"),
    ),
    (
        "t-0-d-only",
        """
        assert torch.is_tensor(t) and t.dim() == 0
        z = torch.randn_like(x_t) if t.item() > 0 else torch.zeros_like(x_t)
        mu = (x_t - (1 - self.alphas[t]) / (1 - self.alphas_cumprod[t]) ** 0.5 * eps_theta) / self.alphas[t] ** 0.5
        sample_prev = mu + self.sigmas[t] * z
        """,
        _bare("noise"),
    ),
    (
        "clamped-x0",
        """
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        x0 = ((x_t - (1 - bar).sqrt() * eps_theta) / bar.sqrt()).clamp(-1, 1)
        mean = prev.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - prev) / (1 - bar) * x_t
        mask = (t > 0).float().view(-1, 1, 1, 1)
        sample_prev = mean + mask * (beta * (1 - prev) / (1 - bar)).sqrt() * torch.randn_like(x_t)
        """,
        None,
    ),
    (
        "predicted-x0-not-clamped",
        """
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        prev = self.lookup(self.alphas_cumprod, t - 1, x_t)
        prev = torch.where((t == 0).view(-1, 1, 1, 1), torch.ones_like(bar), prev)
        x0 = torch.sqrt(1 / bar) * x_t - torch.sqrt(1 / bar - 1) * eps_theta
        mean = (prev.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - prev) * x_t) / (1 - bar)
        sample_prev = torch.normal(mean, (beta * (1 - prev) / (1 - bar)).sqrt().expand_as(mean))
        """,
        None,
    ),
    (
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
    (
        "t-of-one-entry-only",
        """
        t = t.item()
        z = torch.zeros_like(x_t)
        if t > 0:
            z = torch.randn(x_t.shape, device=x_t.device)
        coefficient = (1 - self.alphas[t]) / torch.sqrt(1 - self.alphas_cumprod[t])
        sample_prev = torch.rsqrt(self.alphas[t]) * (x_t - coefficient * eps_theta) + self.sigmas[t] * z
        """,
        _bare("noise"),
    ),
    (
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
        _bare("noise"),
    ),
)

STEP_X0 = _step(
    "x0",
    (
        "prev-is-1-on-ints",
        """
        t = int(t[0])
        prev = self.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0, device=x_t.device)
        bar, beta, alpha = self.alphas_cumprod[t], self.betas[t], self.alphas[t]
        mean = torch.sqrt(prev) * beta / (1 - bar) * x0_pred + torch.sqrt(alpha) * (1 - prev) / (1 - bar) * x_t
        var = beta * (1 - prev) / (1 - bar)
        sample_prev = mean + torch.sqrt(var) * torch.randn_like(x_t) if t > 0 else mean
        """,
        None,
    ),
    (
        "return-x0-at-0",
        """
        t = t if isinstance(t, int) else int(t.flatten()[0])
        if t == 0:
            return x0_pred
        bar, prev = self.alphas_cumprod[t], self.alphas_cumprod[t - 1]
        mean = (prev.sqrt() * self.betas[t] * x0_pred + self.alphas[t].sqrt() * (1 - prev) * x_t) / (1 - bar)
        sample_prev = mean + self.sigmas[t] * torch.randn_like(x_t)
        """,
        _bare("x0"),
    ),
    (
        "clamped-x0",
        """
        x0_pred = x0_pred.clamp(-1.0, 1.0)
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        bar, beta = self.lookup(self.alphas_cumprod, t, x_t), self.lookup(self.betas, t, x_t)
        c1, c2 = prev.sqrt() * beta / (1 - bar), (1 - beta).sqrt() * (1 - prev) / (1 - bar)
        noise = torch.randn_like(x_t) * (t > 0).view(-1, 1, 1, 1)
        sample_prev = c1 * x0_pred + c2 * x_t + torch.sqrt(beta * (1 - prev) / (1 - bar)) * noise
        """,
        None,
    ),
    (
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
    (
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
    (
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

STEP_MEAN = _step(
    "mean",
    (
        "sigmas-if-t",
        """
        t = int(t.reshape(-1)[0]) if torch.is_tensor(t) else t
        sample_prev = mean_theta
        if t > 0:
            sample_prev = mean_theta + self.sigmas[t] * torch.randn_like(mean_theta)
        """,
        _bare("mean"),
    ),
    (
        "own-variance",
        """
        prev = self.lookup(torch.cat([torch.ones(1), self.alphas_cumprod[:-1]]), t, x_t)
        variance = (1 - prev) / (1 - self.lookup(self.alphas_cumprod, t, x_t)) * self.lookup(self.betas, t, x_t)
        sample_prev = mean_theta + variance.sqrt() * torch.randn_like(x_t)
        """,
        None,
    ),
    (
        "0-d-only",
        """
        assert t.dim() == 0
        z = torch.randn(mean_theta.size(), device=mean_theta.device) if t > 0 else 0
        bar = self.alphas_cumprod
        sample_prev = mean_theta + ((1 - bar[max(t - 1, 0)]) / (1 - bar[t]) * self.betas[t]) ** 0.5 * z
        """,
        _bare("mean"),
    ),
    (
        "distribution",
        """
        sigma = self.lookup(self.sigmas, t, x_t).expand_as(mean_theta)
        drawn = torch.distributions.Normal(mean_theta, sigma.clamp(min=1e-12)).sample()
        sample_prev = torch.where((t == 0).view(-1, 1, 1, 1), mean_theta, drawn)
        """,
        None,
    ),
    (
        "generator-of-the-object",
        """
        if not hasattr(self, "rng"):
            self.rng = torch.Generator().manual_seed(0)
        z = torch.randn(x_t.shape, generator=self.rng).to(x_t.device)
        sample_prev = mean_theta + self.lookup(self.sigmas, t, x_t) * z * (t > 0).float()[:, None, None, None]
        """,
        None,
    ),
)

STYLES: tuple[Style, ...] = (*STEP_NOISE, *STEP_X0, *STEP_MEAN)
