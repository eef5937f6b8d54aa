"""Public checks of image_diffusion_todo: a check raises Wrong (or what your code raises), or nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from .compare import BETA_1, BETA_T, T, Wrong, check_close, check_statistics, check_tensor, golden, with_any_t
from .stubs import Recorder
from .task1 import STEP_HINTS, check_loss_gradient, check_timesteps

STEP = "x_{t-1} = mean + sqrt(beta-tilde_t) z, z ~ N(0, I), no z at t = 0    DDPM Sec. 3.2 and Algorithm 2"
EQUATIONS = {
    "task2.add_noise": "q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4",
    "task2.cosine": "beta_t = min(1 - alpha-bar_t / alpha-bar_{t-1}, 0.999)    IDDPM Eq. 17 and Sec. 3.2",
    "task2.step_noise": f"{STEP}; the mean is DDPM Eq. 11",
    "task2.step_x0": f"{STEP}; the mean is DDPM Eq. 7",
    "task2.step_mean": STEP,
    "task2.loss_noise": "L = E || eps - eps_theta(x_t, t) ||^2, mean over all numbers    DDPM Eq. 14",
    "task2.loss_x0": "L = E || x_0 - x_theta(x_t, t) ||^2, mean over all numbers    DDPM Sec. 3.2",
    "task2.loss_mean": "L = E || mu-tilde_t - mu_theta(x_t, t) ||^2, mean over all numbers    DDPM Eq. 7, 8",
}
IMAGES = (64, 3, 28, 28)  # a batch from which a mean and a spread are taken
STEP_X0_HINTS = STEP_HINTS | {
    "t0": "before the first step alpha-bar is 1; neither index 0 nor index -1 of the table holds that"
}


def new_scheduler() -> Any:
    scheduler = importlib.import_module("scheduler")

    return scheduler.DDPMScheduler(T, BETA_1, BETA_T, mode="linear")


def check_add_noise() -> None:
    x0, t, noise = golden("images_x0"), golden("images_t"), golden("images_noise")
    before = x0.clone()
    where = "add_noise in scheduler.py, x_0 (8, 3, 4, 4), t (8,) with another timestep for each image"
    result = new_scheduler().add_noise(x0, t, noise)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Wrong("the result", "x_t and eps", type(result).__name__, where, "return both, x_t first")
    if not torch.equal(x0, before):
        raise Wrong(
            "that x_0 is left as it was",
            "unchanged",
            "changed",
            where,
            "operations such as x_0 *= ... change the caller's tensor",
        )
    check_close(
        result[0],
        golden("images_xt"),
        "x_t from given x_0, t and eps",
        where,
        "noise is scaled by a standard deviation; both factors are looked up at each image's own t",
    )
    check_close(result[1], noise, "the noise that is returned", where, "return the noise that is in x_t")


def check_cosine() -> None:
    scheduler = importlib.import_module("scheduler")

    where = f"BaseScheduler(num_train_timesteps={T}, mode='cosine') in scheduler.py"
    betas = scheduler.BaseScheduler(T, BETA_1, BETA_T, mode="cosine").betas
    check_close(
        betas,
        golden("cosine_betas"),
        "the table of betas",
        where,
        "t runs over T + 1 values, 0 to T; each beta lies between two neighbours; the last is clipped",
    )
    long = scheduler.BaseScheduler(1000, 1e-4, 0.02, mode="cosine").betas
    where = "BaseScheduler(num_train_timesteps=1000, mode='cosine') in scheduler.py"
    check_tensor(long, (1000,), "the table of betas", where)
    if long.min() <= 0 or long.max() > 0.9991:
        raise Wrong(
            "the range of the betas",
            "above 0, at most 0.999",
            f"{long.min():.3g} to {long.max():.5g}",
            where,
            "the last beta would be 1 without a limit",
        )


def check_step(predictor: str, name: str, hints: dict[str, str] = STEP_HINTS) -> None:
    """One reverse step at several t, from images whose pixels are all alike and can be averaged."""
    x_t, out = (golden(key).reshape(1, 3, 1, 1).expand(IMAGES).clone() for key in ("step_xt", "step_out"))
    for row, t in enumerate(golden("step_t").tolist()):
        step = getattr(new_scheduler(), name)
        where = f"{name} in scheduler.py, t = {t}, x_t {IMAGES}"
        got = with_any_t(lambda form, s=step: s(x_t.clone(), form, out.clone()), t, IMAGES, int_first=False)
        images = check_tensor(got, IMAGES, "the result of one step", where)
        pixels = images.movedim(1, -1).reshape(-1, 3)
        mean = golden(f"step_mean_{predictor}")[row]
        check_statistics(pixels, mean, golden("step_spread")[row].item(), where, hints)


def check_step_noise() -> None:
    check_step("noise", "step_predict_noise")


def check_step_x0() -> None:
    check_step("x0", "step_predict_x0", STEP_X0_HINTS)


def check_step_mean() -> None:
    check_step("mean", "step_predict_mean")


def check_loss(predictor: str, name: str, target: Callable[..., torch.Tensor], hint: str) -> None:
    """The loss, recomputed from what the network was shown. target: (x_0, x_t, noise, t) -> (B, C, H, W)."""
    model = importlib.import_module("model")

    network, scheduler = Recorder(), new_scheduler()
    of_x0, of_noise = (golden(key).reshape(-1, 1, 1, 1) for key in ("forward_of_x0", "forward_of_noise"))

    def add_noise(
        x_0: torch.Tensor, t: torch.Tensor, eps: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # so that a mistake in your add_noise does not show here
        eps = torch.randn_like(x_0) if eps is None else eps
        t = t.reshape(-1)
        return of_x0[t] * x_0 + of_noise[t] * eps, eps

    scheduler.add_noise = add_noise
    module = model.DiffusionModule(network, scheduler, predictor=predictor)
    x_0 = torch.rand(4000, 3, 4, 4) * 2 - 1
    where = f"{name} in model.py, x0 (4000, 3, 4, 4)"
    loss = getattr(module, name)(x_0)
    check_tensor(loss, (), "the loss, a single number", where)
    if not network.calls:
        raise Wrong(
            "that the network is asked",
            "one call",
            "none",
            where,
            "the loss compares the network's output with its target",
        )
    x_t, t, out = network.calls[-1]
    check_timesteps(t, len(x_0), where)
    t = t.reshape(-1)
    noise = (x_t - of_x0[t] * x_0) / of_noise[t]
    expected = ((out - target(x_0, x_t, noise, t)) ** 2).mean()
    check_close(loss, expected, "the loss recomputed from what the network was shown", where, hint)
    check_loss_gradient(loss, network, where)


def check_loss_noise() -> None:
    check_loss(
        "noise",
        "get_loss_noise",
        lambda x_0, x_t, noise, t: noise,
        "compare with the very noise that is in x_t, and take the mean",
    )


def check_loss_x0() -> None:
    check_loss(
        "x0",
        "get_loss_x0",
        lambda x_0, x_t, noise, t: x_0,
        "the target is the clean image; take the mean, not the sum",
    )


def check_loss_mean() -> None:
    of_x0, of_xt = (golden(key).reshape(-1, 1, 1, 1) for key in ("mean_of_x0", "mean_of_xt"))
    check_loss(
        "mean",
        "get_loss_mean",
        lambda x_0, x_t, noise, t: of_x0[t] * x_0 + of_xt[t] * x_t,
        "the target is the mean of q(x_{t-1} | x_t, x_0), with alpha-bar = 1 before the first step",
    )
