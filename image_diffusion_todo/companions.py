"""Companion exercises on images, worth no points: a fast sampler, class labels with guidance, diffusers' schedulers.

They need the lab's own TODOs and, to be looked at, a trained model; README.md has the commands. DDIM is Song, Meng,
Ermon 2021, https://arxiv.org/abs/2010.02502; CFG is Ho, Salimans 2022, https://arxiv.org/abs/2207.12598. Images are
(B, C, H, W) in [-1, 1]; timesteps are t = 0..T-1, and the code's t=0 is the papers' t=1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def as_noise(scheduler: nn.Module, x_t: torch.Tensor, t: int, net_out: torch.Tensor, predictor: str) -> torch.Tensor:
    """The noise (B, C, H, W) that a network's output stands for, whatever it was trained to predict."""
    alpha_bar, beta = scheduler.alphas_cumprod[t], scheduler.betas[t]
    if predictor == "noise":
        return net_out
    if predictor == "x0":
        return (x_t - alpha_bar.sqrt() * net_out) / (1 - alpha_bar).sqrt()  # DDPM Eq. 4
    if predictor == "mean":
        return (x_t - (1 - beta).sqrt() * net_out) * (1 - alpha_bar).sqrt() / beta  # DDPM Eq. 11
    raise ValueError(f"unknown predictor '{predictor}'; known are noise, x0, mean")


@torch.no_grad()
def fast_sample(
    network: Callable[..., torch.Tensor],
    scheduler: nn.Module,
    x_T: torch.Tensor,
    every: int,
    predictor: str = "noise",
) -> torch.Tensor:
    """Generates images with one call of the network at every k-th timestep, and no randomness but that of x_T.

    It visits t = T-1, T-1-k, T-1-2k, ... as long as they are not negative, k being `every`; then it is at x_0.

    Args:
        network: called as network(x_t, timestep=t) with t (B,)
        scheduler: has num_train_timesteps (T) and the buffer alphas_cumprod (T,)
        x_T: pure noise, (B, C, H, W); it stays as it is
        every: k, at least 1
        predictor: what the network predicts; as_noise() turns that into noise
    Returns:
        x_0: images (B, C, H, W), not clipped
    """
    T = scheduler.num_train_timesteps

    ##### TODO extra.fast_sample #####
    # Compute x_0 (B, C, H, W) from x_T. At each visited t:
    # 1. eps_theta (B, C, H, W): the network's output, through as_noise(scheduler, x_t, t, net_out, predictor)
    # 2. x0_pred = (x_t - sqrt(1 - alpha-bar_t) eps_theta) / sqrt(alpha-bar_t)    DDIM Eq. 9
    # 3. s = t-k is the next visited timestep. The jump to it adds no fresh noise, but the predicted one:
    #    x_s = sqrt(alpha-bar_s) x0_pred + sqrt(1 - alpha-bar_s) eps_theta        DDIM Eq. 12, sigma = 0
    # The last jump goes past t=0, where there is no noise any more: alpha-bar_s is 1.
    raise NotImplementedError("TODO extra.fast_sample")
    ##### END TODO extra.fast_sample #####

    return x_0


def add_class(
    time: torch.Tensor, labels: torch.Tensor | None, class_embedding: nn.Embedding, null_label: int
) -> torch.Tensor:
    """Tells the U-Net the class together with the time; UNet.forward calls it if there are classes.

    Args:
        time: embedding of the timestep, (B, E)
        labels: 0..num_classes-1, or null_label for an image of no particular class, (B,); None: null_label for all
        class_embedding: a table of num_classes + 1 rows of E numbers, called as class_embedding(labels)
        null_label: num_classes, the last row
    Returns:
        embedding of both, (B, E)
    """
    ##### TODO extra.class_conditional (embedding) #####
    # Compute both (B, E): the class's row of the table, added to the embedding of the time.
    # Without labels it is the row of null_label that is added, not nothing: the network has learned that row.
    raise NotImplementedError("TODO extra.class_conditional (embedding)")
    ##### END TODO extra.class_conditional (embedding) #####

    return both


def drop_labels(
    labels: torch.Tensor, p: float, null_label: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Label dropout: so that one network learns to do with and without a label. The training loop calls it.

    Args:
        labels: (B,), LongTensor; they stay as they are
        p: probability with which a label is dropped, each image by itself
        null_label: what takes the place of a dropped label
        generator: of the random draws; None: PyTorch's own
    Returns:
        labels with some of them dropped, (B,), LongTensor
    """
    ##### TODO extra.class_conditional (dropout) #####
    # Compute kept_or_null (B,): each label by itself is null_label with probability p, else what it was.
    # torch.rand(..., generator=generator, device=labels.device) draws from [0, 1).    CFG Algorithm 1, line 3
    raise NotImplementedError("TODO extra.class_conditional (dropout)")
    ##### END TODO extra.class_conditional (dropout) #####

    return kept_or_null


def guided_noise(
    network: Callable[..., torch.Tensor],
    x_t: torch.Tensor,
    t: torch.Tensor,
    labels: torch.Tensor,
    scale: float,
    null_label: int,
) -> torch.Tensor:
    """Classifier-free guidance: the noise as predicted for a class, and beyond, away from what any class would have.

    The scale counts from the prediction without a class: 0 leaves the class out, 1 is the network's own prediction for
    the class, more than 1 exaggerates it. The paper's w counts from the latter: scale = 1 + w.

    Args:
        network: called as network(x_t, timestep=t, class_label=labels)
        x_t: noisy images, (B, C, H, W)
        t: timesteps, (B,)
        labels: the classes wanted, (B,), LongTensor
        scale: see above
        null_label: the label that stands for no class
    Returns:
        noise, (B, C, H, W)
    """
    ##### TODO extra.class_conditional (guidance) #####
    # Compute eps (B, C, H, W) from two predictions for the same x_t and t: one with labels, one with null_label.
    # eps = eps_uncond + scale (eps_cond - eps_uncond)    CFG Eq. 6 with scale = 1 + w
    raise NotImplementedError("TODO extra.class_conditional (guidance)")
    ##### END TODO extra.class_conditional (guidance) #####

    return eps


def diffusers_classes() -> tuple[type, type]:
    """DDPMScheduler and DDIMScheduler of Hugging Face's diffusers, which this exercise alone needs."""
    try:
        from diffusers import DDIMScheduler, DDPMScheduler
    except ImportError as error:
        raise ImportError(
            "this exercise compares with the library diffusers, which is not installed: pip install diffusers"
        ) from error
    return DDPMScheduler, DDIMScheduler


def diffusers_schedulers(scheduler: nn.Module) -> tuple:
    """The library's two schedulers, set up so that with the lab's model they draw the lab's images; see parity.py.

    The DDPM one takes steps like scheduler.step_predict_noise, the other, after set_timesteps(T / k), steps like
    fast_sample with every=k, as long as k divides T. The network predicts noise.

    Args:
        scheduler: has num_train_timesteps (T) and the buffer betas (T,), of any schedule
    Returns:
        a diffusers.DDPMScheduler and a diffusers.DDIMScheduler
    """
    ##### TODO extra.diffusers_parity #####
    # Make ddpm and ddim from the two classes that diffusers_classes() returns. Their defaults are not the lab's; look
    # in their documentation for what each of these decides:
    #   num_train_timesteps, trained_betas (a NumPy array), clip_sample           both
    #   variance_type: the lab's steps have the variance of the posterior         DDPM
    #   timestep_spacing: a grid that begins at T-1                               DDIM
    #   set_alpha_to_one: the last jump goes to x_0                               DDIM
    raise NotImplementedError("TODO extra.diffusers_parity")
    ##### END TODO extra.diffusers_parity #####

    return ddpm, ddim
