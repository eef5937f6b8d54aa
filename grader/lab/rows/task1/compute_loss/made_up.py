"""Mistakes in compute_loss as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, before, body, mistake
from grader.lab.files import DDPM
from grader.lab.shared.made_up import ABOVE_COMPUTE_LOSS, NUMPY_DDPM

ROW = "task1.compute_loss"
TARGET_LOST, TIMESTEPS_LOST = 2.0, 2.5
DRAW_T = "t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), device=x0.device)\n"
NOISED = "noise = torch.randn_like(x0)\nxt = self.q_sample(x0, t, noise)\n"


style = partial(body, ROW)


def _case(name: str, diagnosis: str, text: str, points: float = TARGET_LOST) -> Case:
    return mistake(ROW, diagnosis, points, text, name=name)


def _loss(name: str, diagnosis: str, loss: str, points: float = TARGET_LOST) -> Case:
    """Right up to x_t; `loss` is what follows."""
    return _case(name, diagnosis, DRAW_T + NOISED + loss, points)


def _t(name: str, diagnosis: str, draw: str) -> Case:
    """Right but for the way in which t is drawn."""
    return _case(
        name,
        diagnosis,
        f"T, B = self.var_scheduler.num_train_timesteps, len(x0)\nt = {draw}\n"
        + NOISED
        + "loss = ((noise - self.network(xt, t)) ** 2).mean()",
        TIMESTEPS_LOST,
    )


MISTAKES: tuple[Case, ...] = (
    _loss("x0-as-target", "x0-for-noise-target", "loss = F.mse_loss(self.network(xt, t), x0)"),
    _loss("xt-as-target", "xt-as-target", "loss = F.mse_loss(self.network(xt, t), xt)"),
    _case(
        "noise-drawn-twice",
        "loss-noise-drawn-twice",
        DRAW_T
        + """
xt = self.q_sample(x0, t)
noise = torch.randn_like(x0)
loss = F.mse_loss(self.network(xt, t), noise)
    """,
    ),
    _case(
        "noise-drawn-again",
        "loss-noise-drawn-twice",
        DRAW_T
        + """
xt = self.q_sample(x0, t, torch.randn_like(x0))
loss = torch.mean((self.network(xt, t) - torch.randn_like(x0)) ** 2)
    """,
    ),
    _case(
        "rand-for-randn",
        "loss-noise-not-standard",
        DRAW_T + NOISED.replace("randn_like", "rand_like") + "loss = F.mse_loss(self.network(xt, t), noise)",
    ),
    _case(
        "one-noise-for-the-batch",
        "loss-noise-not-standard",
        DRAW_T + NOISED.replace("_like(x0)", "(1, 2)") + "loss = ((self.network(xt, t) - noise) ** 2).mean()",
    ),
    _case(
        "uniform-noise",
        "loss-noise-not-standard",
        DRAW_T
        + """
noise = torch.rand_like(x0)
xt = self.q_sample(x0, t, noise)
loss = F.mse_loss(self.network(xt, t), noise)
    """,
    ),
    _loss("network-sees-x0", "network-sees-x0", "loss = F.mse_loss(self.network(x0, t), noise)"),
    _loss("network-sees-noise", "network-sees-noise", "loss = F.mse_loss(self.network(noise, t), noise)"),
    _loss("sum", "sum-for-mean", "loss = ((noise - self.network(xt, t)) ** 2).sum()"),
    _loss("norm-per-point", "sum-for-mean", "loss = (noise - self.network(xt, t)).pow(2).sum(dim=-1).mean()"),
    _loss("mse-sum", "sum-for-mean", "loss = F.mse_loss(self.network(xt, t), noise, reduction='sum') / x0.shape[0]"),
    _loss("l1", "absolute-error", "loss = F.l1_loss(self.network(xt, t), noise)"),
    _loss("norm-not-squared", "root-of-the-error", "loss = (noise - self.network(xt, t)).norm(dim=1).mean()"),
    _loss("root", "root-of-the-error", "loss = torch.sqrt(F.mse_loss(self.network(xt, t), noise))"),
    _loss("half", "loss-scaled", "loss = 0.5 * F.mse_loss(self.network(xt, t), noise)"),
    _loss("not-squared", "error-not-squared", "loss = (noise - self.network(xt, t)).mean()"),
    _loss("not-reduced", "loss-not-reduced", "loss = (noise - self.network(xt, t)) ** 2", 1.5),
    _case("placeholder", "network-not-called", "loss = x0.mean()", 0.0),
    _loss("network-not-called", "network-not-called", "loss = F.mse_loss(xt, noise)", 0.0),
    _loss("detached", "loss-without-gradient", "loss = F.mse_loss(self.network(xt, t).detach(), noise)", 3.5),
    _loss(
        "no-grad",
        "loss-without-gradient",
        """
with torch.no_grad():
    noise_pred = self.network(xt, t)
loss = F.mse_loss(noise_pred, noise)
    """,
        3.5,
    ),
    _loss(
        "scaled-t",
        "other-t-for-network",
        "loss = F.mse_loss(self.network(xt, t / self.var_scheduler.num_train_timesteps), noise)",
        TIMESTEPS_LOST,
    ),
    _loss(
        "t-drawn-twice",
        "other-t-for-network",
        "s = torch.randint_like(t, self.var_scheduler.num_train_timesteps)\n"
        "loss = F.mse_loss(self.network(xt, s), noise)",
        TIMESTEPS_LOST,
    ),
    _t("one-t", "loss-one-t-for-the-batch", "torch.randint(T, (1,)).item()"),
    _t("one-t-expanded", "loss-one-t-for-the-batch", "torch.randint(0, T, (1,)).expand(B)"),
    _t("t-from-1", "t-from-1", "torch.randint(1, T, (B,), device=x0.device)"),
    _t("t-from-1-to-T", "t-from-1-to-T", "torch.randint(1, T + 1, (B,))"),
    _t("t-up-to-T", "t-up-to-T", "torch.randint(T + 1, (B,), device=self.device)"),
    _t("t-misses-the-last", "t-misses-the-last", "torch.randint(0, T - 1, (B,))"),
    _t("t-rounded", "t-not-uniform", "torch.round(torch.rand(B) * (T - 1)).long()"),
    _t("same-t-always", "t-same-at-every-call", "torch.randint(T, (B,), generator=torch.Generator().manual_seed(0))"),
)
STYLES: tuple[Style, ...] = (
    style(
        "mean-of-squares",
        """
        batch_size = x0.shape[0]
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, size=(batch_size,)).to(x0.device).long()
        eps = torch.randn_like(x0)
        eps_pred = self.network(self.q_sample(x0, t, noise=eps), t)
        loss = (eps - eps_pred).pow(2).mean()
        """,
    ),
    style(
        "module-loss-noise-first",
        """
        noise = torch.randn(x0.size(), device=x0.device)
        t = torch.randint(high=self.var_scheduler.num_train_timesteps, size=x0.shape[:1], device=x0.device)
        loss = torch.nn.MSELoss(reduction="mean")(self.network(self.q_sample(x0, t, noise), t), noise)
        """,
    ),
    style(
        "q-sample-inlined",
        """
        t = torch.randint(0, len(self.var_scheduler.betas), (len(x0),), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t].unsqueeze(-1)
        eps_hat = self.network(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t)
        loss = F.mse_loss(eps_hat, eps)
        """,
    ),
    style(
        "numpy-randint",
        """
        t = torch.from_numpy(np.random.randint(0, self.var_scheduler.num_train_timesteps, len(x0))).to(x0.device)
        eps = torch.randn_like(x0)
        loss = torch.square(self.network(x=self.q_sample(x0=x0, t=t, noise=eps), t=t) - eps).mean()
        """,
        NUMPY_DDPM,
    ),
    style(
        "sum-over-count",
        """
        T = self.var_scheduler.num_train_timesteps
        t = torch.floor(torch.rand(x0.shape[0], device=x0.device) * T).long().clamp(max=T - 1)
        eps = torch.randn_like(x0)
        difference = self.network(self.q_sample(x0, t, eps), t) - eps
        loss = (difference * difference).sum() / difference.numel()
        """,
    ),
    style(
        "per-sample-then-mean",
        """
        t = torch.randint(self.var_scheduler.num_train_timesteps, (x0.shape[0],), dtype=torch.int32).long()
        eps = torch.randn_like(x0)
        per_sample = F.mse_loss(self.network(self.q_sample(x0, t, eps), t), eps, reduction="none").mean(dim=1)
        loss = per_sample.mean()
        """,
    ),
    style(
        "helper-methods",
        "loss = self._matching(x0, *self._draw(x0))",
        before(
            DDPM,
            ABOVE_COMPUTE_LOSS,
            """\
    def _draw(self, x0):
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),), device=x0.device)
        return t, torch.randn_like(x0)

    def _matching(self, x0, t, eps):
        return torch.mean((eps - self.network(self.q_sample(x0, t, eps), t)) ** 2)

""",
        ),
    ),
    style(
        "t-in-a-column",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0], 1), device=x0.device)
        eps = torch.randn_like(x0)
        abar = self.var_scheduler.alphas_cumprod[t]
        xt = torch.sqrt(abar) * x0 + torch.sqrt(1 - abar) * eps
        loss = F.mse_loss(self.network(xt, t.squeeze(1)), eps)
        """,
    ),
    style(
        "generator-of-the-object",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), generator=self.loss_rng)
        eps = torch.randn(x0.shape, generator=self.loss_rng)
        loss = ((self.network(self.q_sample(x0, t, eps), t) - eps) ** 2).mean()
        """,
        before(
            DDPM,
            "    @property\n    def device(self)",
            """\
    @property
    def loss_rng(self):
        if "_loss_rng" not in self.__dict__:
            self.__dict__["_loss_rng"] = torch.Generator().manual_seed(7)
        return self.__dict__["_loss_rng"]

""",
        ),
    ),
)
