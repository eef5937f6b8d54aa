"""Mistakes in compute_loss, as students make them."""

from __future__ import annotations

from grader.judging.made_up import Case

ROW = "task1.compute_loss"
TARGET_LOST, TIMESTEPS_LOST = 2.0, 2.5
DRAW_T = "t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.shape[0],), device=x0.device)\n"
NOISED = "noise = torch.randn_like(x0)\nxt = self.q_sample(x0, t, noise)\n"


def _case(style: str, diagnosis: str, body: str, points: float = TARGET_LOST) -> Case:
    return Case(f"compute_loss-{style}", ROW, points, diagnosis, bodies={ROW: body})


def _loss(style: str, diagnosis: str, loss: str, points: float = TARGET_LOST) -> Case:
    """Right up to x_t; `loss` is what follows."""
    return _case(style, diagnosis, DRAW_T + NOISED + loss, points)


def _t(style: str, diagnosis: str, draw: str) -> Case:
    """Right but for the way in which t is drawn."""
    return _case(
        style,
        diagnosis,
        f"T, B = self.var_scheduler.num_train_timesteps, len(x0)\nt = {draw}\n"
        + NOISED
        + "loss = ((noise - self.network(xt, t)) ** 2).mean()",
        TIMESTEPS_LOST,
    )


CASES = (
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
