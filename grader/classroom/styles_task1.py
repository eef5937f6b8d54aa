"""Right solutions of the other TODOs of the 2D half, in many styles."""

from __future__ import annotations

from grader.classroom.styles import DDPM, Style, before, body

GIVEN_T = "        t = one_t_per_point(t, xt)  # (B,)\n\n"  # in p_sample alone
INIT_END = ("        super().__init__()\n        self.network = network\n        self.var_scheduler = var_scheduler\n")
ABOVE_P_SAMPLE = "    @torch.no_grad()\n    def p_sample(self,"
ABOVE_LOSS = "    def compute_loss(self,"
ABOVE_MODULE = "class DiffusionModule(nn.Module):\n"
BUFFERS_END = '        self.register_buffer("alphas_cumprod", alphas_cumprod.float())\n'
IMPORTS = "import torch.nn.functional as F\n"


def _without_given_t() -> dict[str, list[tuple[str, str]]]:
    """As in editions whose p_sample leaves t as it comes."""
    return {DDPM: [(GIVEN_T, "")]}


Q_SAMPLE = tuple(body("task1.q_sample", name, text, replace) for name, text, replace in (
    ("indexing", """
        abar = self.var_scheduler.alphas_cumprod[t].view(-1, 1)
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1.0 - abar) * noise
        """, None),
    ("own-gather", """
        t_index = torch.as_tensor(t, device=x0.device).view(-1)
        abar = torch.gather(self.var_scheduler.alphas_cumprod, 0, t_index)
        while abar.dim() < x0.dim():
            abar = abar.unsqueeze(-1)
        mean, std = abar ** 0.5 * x0, (1 - abar) ** 0.5
        xt = mean + std * noise
        """, None),
    ("numpy-tables", """
        betas = self.var_scheduler.betas.cpu().numpy().astype("float64")
        abar = np.cumprod(1.0 - betas)
        a = torch.from_numpy(np.sqrt(abar)).to(x0)[t].reshape(-1, 1)
        b = torch.from_numpy(np.sqrt(1.0 - abar)).to(x0)[t].reshape(-1, 1)
        xt = a * x0 + b * noise
        """, before(DDPM, IMPORTS, "import numpy as np\n")),
    ("sqrt-buffers", """
        xt = (extract(self.var_scheduler.sqrt_alphas_cumprod, t, x0) * x0
              + extract(self.var_scheduler.sqrt_one_minus_alphas_cumprod, t, x0) * noise)
        """, {DDPM: [(BUFFERS_END, BUFFERS_END + """\
        self.register_buffer("sqrt_alphas_cumprod", torch.sqrt(self.alphas_cumprod))
        self.register_buffer("sqrt_one_minus_alphas_cumprod", torch.sqrt(1.0 - self.alphas_cumprod))
""")]}),
    ("float64-inside", """
        abar = extract(self.var_scheduler.alphas_cumprod.double(), t, x0)
        xt = (abar.sqrt() * x0.double() + (1 - abar).sqrt() * noise.double()).to(x0.dtype)
        """, None),
    ("addcmul", """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = torch.addcmul(x0.mul(abar.sqrt()), (1 - abar).sqrt().expand_as(x0), noise)
        """, None),
    ("signal-to-noise-form", """
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        xt = abar.sqrt() * (x0 + (1 / abar - 1).sqrt() * noise)
        """, None),
    ("trigonometric", """
        angle = torch.acos(extract(self.var_scheduler.alphas_cumprod, t, x0).sqrt())
        xt = torch.cos(angle) * x0 + torch.sin(angle) * noise
        """, None),
    ("product-of-alphas", """
        logs = torch.cumsum(torch.log(self.var_scheduler.alphas), dim=0)
        abar = torch.exp(extract(logs, t, x0))
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * noise
        """, None),
    ("helper-method", "xt = self._diffuse(x0, t, noise)", before(DDPM, ABOVE_P_SAMPLE, """\
    def _diffuse(self, x0, t, noise):
        abar = extract(self.var_scheduler.alphas_cumprod, t, x0)
        return abar.sqrt() * x0 + (1 - abar).sqrt() * noise

""")),
))

P_SAMPLE = tuple(body("task1.p_sample", name, text, replace) for name, text, replace in (
    ("if-t-is-0-on-ints", """
        s = self.var_scheduler
        eps = self.network(xt, torch.full((xt.shape[0],), t, device=xt.device, dtype=torch.long))
        mu = 1 / torch.sqrt(s.alphas[t]) * (xt - s.betas[t] / torch.sqrt(1 - s.alphas_cumprod[t]) * eps)
        if t == 0:
            x_t_prev = mu
        else:
            var = (1 - s.alphas_cumprod[t - 1]) / (1 - s.alphas_cumprod[t]) * s.betas[t]
            x_t_prev = mu + torch.sqrt(var) * torch.randn_like(xt)
        """, _without_given_t()),
    ("isinstance-int-else-crash", """
        if not isinstance(t, int):
            raise TypeError("t is an int")
        b, a, ab = (table[t] for table in (self.var_scheduler.betas, self.var_scheduler.alphas,
                                           self.var_scheduler.alphas_cumprod))
        ab_prev = self.var_scheduler.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
        z = torch.randn(xt.shape, device=xt.device) if t > 0 else torch.zeros_like(xt)
        eps_theta = self.network(xt, torch.tensor([t], device=xt.device))
        x_t_prev = (xt - (1 - a) / (1 - ab).sqrt() * eps_theta) / a.sqrt() + ((1 - ab_prev) / (1 - ab) * b).sqrt() * z
        """, _without_given_t()),
    ("t-of-one-per-point-only", """
        assert t.shape == (xt.shape[0],), "t: (B,)"
        beta, alpha, abar = (torch.gather(table, 0, t)[:, None] for table in (
            self.var_scheduler.betas, self.var_scheduler.alphas, self.var_scheduler.alphas_cumprod))
        prev = torch.gather(self.var_scheduler.alphas_cumprod, 0, torch.clamp(t - 1, min=0))[:, None]
        mask = (t != 0).float().view(-1, 1)
        model_out = self.network(xt, t)
        mean = torch.rsqrt(alpha) * (xt - beta * torch.rsqrt(1 - abar) * model_out)
        x_t_prev = mean + mask * torch.sqrt((1 - prev) / (1 - abar) * beta) * torch.randn_like(xt)
        """, _without_given_t()),
    ("t-of-one-entry-only", """
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
        """, _without_given_t()),
    ("t-0-d-only", """
        assert t.dim() == 0
        sch = self.var_scheduler
        noise = torch.randn_like(xt) if bool(t > 0) else 0.0
        eps = self.network(xt, t.expand(len(xt)))
        sigma = torch.sqrt((1 - sch.alphas_cumprod[t - 1]) / (1 - sch.alphas_cumprod[t]) * sch.betas[t])
        x_t_prev = (xt - sch.betas[t] / (1 - sch.alphas_cumprod[t]) ** 0.5 * eps) / sch.alphas[t] ** 0.5 + sigma * noise
        """, _without_given_t()),
    ("by-predicted-x0", """
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = torch.where((t == 0)[:, None], torch.ones_like(abar),
                                extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(0), xt))
        eps = self.network(xt, t)
        x0_hat = (xt - (1 - abar).sqrt() * eps) / abar.sqrt()
        mean = (abar_prev.sqrt() * beta_t * x0_hat + (1 - beta_t).sqrt() * (1 - abar_prev) * xt) / (1 - abar)
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * torch.randn_like(xt)
        """, None),
    ("posterior-coefficient-buffers", """
        x0_hat = self._predict_x0(xt, t, self.network(xt, t))
        mean = extract(self.coef1, t, xt) * x0_hat + extract(self.coef2, t, xt) * xt
        z = torch.randn_like(xt)
        z[t == 0] = 0
        x_t_prev = mean + torch.exp(0.5 * extract(self.log_var, t, xt)) * z
        """, {DDPM: [(INIT_END, INIT_END + """\
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
""")]}),
    ("torch-normal", """
        beta_t, alpha_t, abar = (extract(b, t, xt) for b in (self.var_scheduler.betas, self.var_scheduler.alphas,
                                                             self.var_scheduler.alphas_cumprod))
        abar_prev = F.pad(self.var_scheduler.alphas_cumprod, (1, 0), value=1.0)[t].unsqueeze(1)
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / alpha_t.sqrt()
        std = (beta_t * (1 - abar_prev) / (1 - abar)).sqrt()
        x_t_prev = torch.normal(mean, std.expand_as(mean))
        """, None),
    ("numpy-noise", """
        z = torch.from_numpy(np.random.randn(*xt.shape)).to(xt) * (t > 0).to(xt).view(-1, 1)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        eps = self.network(xt, t)
        x_t_prev = (xt - beta_t / (1 - abar).sqrt() * eps) / (1 - beta_t).sqrt()
        x_t_prev = x_t_prev + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """, before(DDPM, IMPORTS, "import numpy as np\n")),
    ("numpy-generator-of-the-module", """
        z = torch.as_tensor(RNG.standard_normal(xt.shape), dtype=xt.dtype)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        abar_prev = torch.where(t[:, None] > 0, abar_prev, torch.ones_like(abar_prev))
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / (1 - beta_t).sqrt()
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """, {DDPM: [(IMPORTS, "import numpy as np\n" + IMPORTS),
                 (ABOVE_MODULE, "RNG = np.random.default_rng()\n\n\n" + ABOVE_MODULE)]}),
    ("generator-of-the-object", """
        z = torch.randn(xt.shape, generator=self.generator)
        z = torch.where((t == 0).unsqueeze(-1), torch.zeros_like(z), z)
        beta_t = extract(self.var_scheduler.betas, t, xt)
        abar = extract(self.var_scheduler.alphas_cumprod, t, xt)
        abar_prev = extract(self.var_scheduler.alphas_cumprod, (t - 1).clamp(min=0), xt)
        mean = (xt - beta_t / (1 - abar).sqrt() * self.network(xt, t)) / (1 - beta_t).sqrt()
        x_t_prev = mean + (beta_t * (1 - abar_prev) / (1 - abar)).sqrt() * z
        """, {DDPM: [(INIT_END, INIT_END + "        self.generator = torch.Generator().manual_seed(42)\n")]}),
    ("generator-of-the-call", """
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
        """, None),
    ("float64-inside", """
        betas = self.var_scheduler.betas.double()
        abars = torch.cumprod(1 - betas, 0)
        beta_t, abar = betas[t].view(-1, 1), abars[t].view(-1, 1)
        abar_prev = torch.cat([torch.ones(1).double(), abars])[t].view(-1, 1)
        eps = self.network(xt, t).double()
        mean = (xt.double() - beta_t * eps / torch.sqrt(1 - abar)) / torch.sqrt(1 - beta_t)
        noise = torch.randn(xt.shape, dtype=torch.float64)
        x_t_prev = (mean + torch.sqrt((1 - abar_prev) / (1 - abar) * beta_t) * noise).float()
        """, None),
))

P_SAMPLE_LOOP = tuple(body("task1.p_sample_loop", name, text, replace) for name, text, replace in (
    ("tensor-of-one-per-point", """
        x0_pred = torch.randn(shape).to(self.device)
        T = self.var_scheduler.num_train_timesteps
        for i in range(T - 1, -1, -1):
            t = torch.full((shape[0],), i, device=self.device, dtype=torch.long)
            x0_pred = self.p_sample(x0_pred, t)
        """, None),
    ("tensor-of-one-entry", """
        x = torch.randn(*shape, device=self.device)
        for t in reversed(range(len(self.var_scheduler.betas))):
            x = self.p_sample(x, torch.tensor([t]).to(self.device))
        x0_pred = x
        """, None),
    ("tqdm", """
        x0_pred = torch.randn(tuple(shape), device=self.device)
        for t in tqdm(list(range(self.var_scheduler.num_train_timesteps))[::-1], desc="sampling", leave=False):
            x0_pred = self.p_sample(xt=x0_pred, t=t)
        """, before(DDPM, IMPORTS, "from tqdm.auto import tqdm\n")),
    ("while-countdown", """
        shape = torch.Size(shape)
        x0_pred = torch.empty(shape, device=self.device).normal_()
        t = self.var_scheduler.num_train_timesteps
        while t > 0:
            t -= 1
            x0_pred = self.p_sample(x0_pred, torch.tensor(t, device=self.device))
        """, None),
    ("step-inlined", """
        s = self.var_scheduler
        x = torch.randn(shape, device=self.device)
        for t in range(s.num_train_timesteps - 1, -1, -1):
            z = torch.randn_like(x) if t > 0 else torch.zeros_like(x)
            t_batch = torch.full((shape[0],), t, device=self.device, dtype=torch.long)
            eps = self.network(x, t_batch)
            abar, abar_prev = s.alphas_cumprod[t], s.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
            x = (x - s.betas[t] / (1 - abar).sqrt() * eps) / s.alphas[t].sqrt()
            x = x + (s.betas[t] * (1 - abar_prev) / (1 - abar)).sqrt() * z
        x0_pred = x
        """, None),
    ("helper-method", """
        x0_pred = self._denoise_from(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps)
        """, before(DDPM, ABOVE_LOSS, """\
    def _denoise_from(self, x, steps):
        for step in range(steps)[::-1]:
            x = self.p_sample(x, step)
        return x

""")),
    ("recursion", """
        def descend(x, t):
            return x if t < 0 else descend(self.p_sample(x, t), t - 1)

        x0_pred = descend(torch.randn(shape, device=self.device), self.var_scheduler.num_train_timesteps - 1)
        """, None),
    ("inference-mode-and-trajectory", """
        with torch.inference_mode():
            xs = [torch.randn(shape, device=self.device)]
            for t in torch.arange(self.var_scheduler.num_train_timesteps - 1, -1, -1):
                xs.append(self.p_sample(xs[-1], t.to(self.device)))
        x0_pred = xs[-1]
        """, {DDPM: [("    @torch.no_grad()\n    def p_sample_loop(", "    def p_sample_loop(")]}),
    ("eval-and-train", """
        was_training = self.training
        self.network.eval()
        x0_pred = torch.normal(0.0, 1.0, size=shape, device=self.device)
        for t in sorted(range(self.var_scheduler.num_train_timesteps), reverse=True):
            x0_pred = self.p_sample(x0_pred.detach(), int(t)).detach()
        self.network.train(was_training)
        """, None),
    ("numpy-countdown", """
        x0_pred = torch.from_numpy(np.random.normal(size=shape)).float().to(self.device)
        for t in np.arange(self.var_scheduler.num_train_timesteps)[::-1]:
            x0_pred = self.p_sample(x0_pred, int(t))
        """, before(DDPM, IMPORTS, "import numpy as np\n")),
))

COMPUTE_LOSS = tuple(body("task1.compute_loss", name, text, replace) for name, text, replace in (
    ("mean-of-squares", """
        batch_size = x0.shape[0]
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, size=(batch_size,)).to(x0.device).long()
        eps = torch.randn_like(x0)
        eps_pred = self.network(self.q_sample(x0, t, noise=eps), t)
        loss = (eps - eps_pred).pow(2).mean()
        """, None),
    ("module-loss-noise-first", """
        noise = torch.randn(x0.size(), device=x0.device)
        t = torch.randint(high=self.var_scheduler.num_train_timesteps, size=x0.shape[:1], device=x0.device)
        loss = torch.nn.MSELoss(reduction="mean")(self.network(self.q_sample(x0, t, noise), t), noise)
        """, None),
    ("q-sample-inlined", """
        t = torch.randint(0, len(self.var_scheduler.betas), (len(x0),), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t].unsqueeze(-1)
        eps_hat = self.network(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t)
        loss = F.mse_loss(eps_hat, eps)
        """, None),
    ("numpy-randint", """
        t = torch.from_numpy(np.random.randint(0, self.var_scheduler.num_train_timesteps, len(x0))).to(x0.device)
        eps = torch.randn_like(x0)
        loss = torch.square(self.network(x=self.q_sample(x0=x0, t=t, noise=eps), t=t) - eps).mean()
        """, before(DDPM, IMPORTS, "import numpy as np\n")),
    ("sum-over-count", """
        T = self.var_scheduler.num_train_timesteps
        t = torch.floor(torch.rand(x0.shape[0], device=x0.device) * T).long().clamp(max=T - 1)
        eps = torch.randn_like(x0)
        difference = self.network(self.q_sample(x0, t, eps), t) - eps
        loss = (difference * difference).sum() / difference.numel()
        """, None),
    ("per-sample-then-mean", """
        t = torch.randint(self.var_scheduler.num_train_timesteps, (x0.shape[0],), dtype=torch.int32).long()
        eps = torch.randn_like(x0)
        per_sample = F.mse_loss(self.network(self.q_sample(x0, t, eps), t), eps, reduction="none").mean(dim=1)
        loss = per_sample.mean()
        """, None),
    ("helper-methods", "loss = self._matching(x0, *self._draw(x0))", before(DDPM, ABOVE_LOSS, """\
    def _draw(self, x0):
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),), device=x0.device)
        return t, torch.randn_like(x0)

    def _matching(self, x0, t, eps):
        return torch.mean((eps - self.network(self.q_sample(x0, t, eps), t)) ** 2)

""")),
    ("t-in-a-column", """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0], 1), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t]
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * eps
        loss = F.mse_loss(self.network(xt, t.squeeze(1)), eps)
        """, None),
    ("generator-of-the-object", """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), generator=self.loss_rng)
        eps = torch.randn(x0.shape, generator=self.loss_rng)
        loss = ((self.network(self.q_sample(x0, t, eps), t) - eps) ** 2).mean()
        """, before(DDPM, "    @property\n    def device(self)", """\
    @property
    def loss_rng(self):
        if "_loss_rng" not in self.__dict__:
            self.__dict__["_loss_rng"] = torch.Generator().manual_seed(7)
        return self.__dict__["_loss_rng"]

""")),
))

STYLES: tuple[Style, ...] = (*Q_SAMPLE, *P_SAMPLE, *P_SAMPLE_LOOP, *COMPUTE_LOSS)
