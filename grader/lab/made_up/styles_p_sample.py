"""Right reverse steps of the 2D half, in many styles."""

from __future__ import annotations

from grader.judging.made_up import Style, before, body
from grader.lab.files import DDPM

GIVEN_T = "        t = one_t_per_point(t, xt)  # (B,)\n\n"  # in p_sample alone
INIT_END = "        super().__init__()\n        self.network = network\n        self.var_scheduler = var_scheduler\n"
ABOVE_MODULE = "class DiffusionModule(nn.Module):\n"
IMPORTS = "import torch.nn.functional as F\n"


def _without_given_t() -> dict[str, list[tuple[str, str]]]:
    """As in editions whose p_sample leaves t as it comes."""
    return {DDPM: [(GIVEN_T, "")]}


STYLES: tuple[Style, ...] = tuple(
    body("task1.p_sample", name, text, replace)
    for name, text, replace in (
        (
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
            _without_given_t(),
        ),
        (
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
            _without_given_t(),
        ),
        (
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
            _without_given_t(),
        ),
        (
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
            _without_given_t(),
        ),
        (
            "t-0-d-only",
            """
        assert t.dim() == 0
        sch = self.var_scheduler
        noise = torch.randn_like(xt) if bool(t > 0) else 0.0
        eps = self.network(xt, t.expand(len(xt)))
        sigma = torch.sqrt((1 - sch.alphas_cumprod[t - 1]) / (1 - sch.alphas_cumprod[t]) * sch.betas[t])
        x_t_prev = (xt - sch.betas[t] / (1 - sch.alphas_cumprod[t]) ** 0.5 * eps) / sch.alphas[t] ** 0.5 + sigma * noise
        """,
            _without_given_t(),
        ),
        (
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
            None,
        ),
        (
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
        (
            "torch-normal",
            """
        beta_t, alpha_t, abar = (extract(b, t, xt) for b in (self.var_scheduler.betas, self.var_scheduler.alphas,
                                                             self.var_scheduler.alphas_cumprod))
        abar_prev = F.pad(self.var_scheduler.alphas_cumprod, (1, 0), value=1.0)[t].unsqueeze(1)
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / alpha_t.sqrt()
        std = (beta_t * (1 - abar_prev) / (1 - abar)).sqrt()
        x_t_prev = torch.normal(mean, std.expand_as(mean))
        """,
            None,
        ),
        (
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
            before(DDPM, IMPORTS, "import numpy as np\n"),
        ),
        (
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
        (
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
        (
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
            None,
        ),
        (
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
            None,
        ),
    )
)
