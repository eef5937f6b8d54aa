"""Mistakes in get_loss_x0 as students make them, and right solutions in other styles."""

from __future__ import annotations

from functools import partial

from grader.judging.made_up import Case, Style, body, mistake
from grader.lab.shared.made_up import ASK, DRAW_T, NOISED, wrong_loss
from grader.records import Verdict

ROW = "task2.loss_x0"
case, style = partial(mistake, ROW), partial(body, ROW)
_loss = partial(wrong_loss, ROW)
MISTAKES: tuple[Case, ...] = (
    _loss("noise-for-x0-target", "F.mse_loss(pred, eps)"),
    _loss("xt-as-target", "F.mse_loss(pred, x_t)"),
    case("network-sees-noise", 1.5, DRAW_T + NOISED + ASK.replace("x_t", "eps") + "loss = F.mse_loss(pred, x0)"),
    _loss("sum-for-mean", "((pred - x0) ** 2).sum(dim=[1, 2, 3]).mean()"),
    _loss("root-of-the-error", "torch.norm((pred - x0).flatten(1), dim=1).mean()"),
    _loss("error-not-squared", "(x0 - pred).mean()"),
    _loss("loss-scaled", "2 * (pred - x0).square().mean()"),
    case(
        "loss-without-gradient",
        2.5,
        DRAW_T
        + NOISED
        + """
with torch.no_grad():
    x0_theta = self.network(x_t, timestep=t, class_label=class_label)
loss = F.mse_loss(x0_theta, x0)
""",
    ),
    case(
        "other-t-for-network",
        2.0,
        DRAW_T
        + NOISED
        + ASK.replace("timestep=t", "timestep=t / 10")
        + """
loss = F.mse_loss(pred, x0)
""",
        name="other-t-for-network-normalised",
    ),
    case(
        "loss-one-t-for-the-batch",
        2.0,
        """
T = self.var_scheduler.num_train_timesteps
t = torch.randint(0, T, (1,), device=x0.device).repeat(x0.shape[0])
"""
        + NOISED
        + ASK
        + "loss = F.mse_loss(pred, x0)",
    ),
    case(
        "t-not-uniform",
        2.0,
        """
t = (torch.rand(x0.shape[0]) ** 2 * self.var_scheduler.num_train_timesteps).long()
"""
        + NOISED
        + ASK
        + "loss = F.mse_loss(pred, x0)",
    ),
    case(None, 0.0, "loss = None", name="placeholder", verdict=Verdict.NOT_IMPLEMENTED),
)

STYLES: tuple[Style, ...] = (
    style(
        "positional-class-label",
        """
        timestep = self.var_scheduler.uniform_sample_t(x0.shape[0], self.device)
        x_t, noise = self.var_scheduler.add_noise(x0, timestep, noise)
        x0_pred = self.network(x_t, timestep, class_label)
        loss = ((x0_pred - x0) ** 2).mean()
        """,
    ),
    style(
        "no-class-label",
        """
        t = torch.randint(0, self.var_scheduler.num_train_timesteps, (x0.size(0),)).to(x0.device)
        x_t = self.var_scheduler.add_noise(x0, t, noise)[0]
        loss = F.mse_loss(x0, self.network(x_t, t))
        """,
    ),
    style(
        "target-detached",
        """
        with torch.no_grad():
            t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
            eps = noise if noise is not None else torch.randn_like(x0)
            x_t, _ = self.var_scheduler.add_noise(x0, t, eps)
            target = x0.detach().clone()
        loss = nn.MSELoss(reduction="mean")(self.network(x_t, timestep=t, class_label=class_label), target)
        """,
    ),
    style(
        "add-noise-inlined",
        """
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        noise = torch.randn_like(x0) if noise is None else noise
        bar = self.var_scheduler.alphas_cumprod.gather(0, t).reshape(-1, 1, 1, 1)
        x_t = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
        residual = x0 - self.network(x_t, timestep=t, class_label=class_label)
        loss = residual.square().sum() / residual.numel()
        """,
    ),
)
