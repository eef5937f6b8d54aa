"""Denoising diffusion on 2D points: the forward process, the reverse process and the loss.

The paper is Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models",
https://arxiv.org/abs/2006.11239 (below: DDPM). B is the batch size, D the number of features (2 here), T the
number of timesteps.

Index rule: timesteps are t = 0..T-1, and the code's t=0 is the paper's t=1. So betas[0] is the paper's
beta_1, and what the paper calls x_0, the clean data, is what comes out of the reverse step at t=0. A function
that takes t takes an int, or a tensor of shape (), (1,) or (B,).
"""

import json

import torch
import torch.nn.functional as F
from torch import nn

Timestep = int | torch.Tensor


class BaseScheduler(nn.Module):
    """A variance schedule: buffers `betas`, `alphas` and `alphas_cumprod` (alpha-bar), (T,) float32 each."""

    def __init__(self, num_train_timesteps: int, beta_1: float = 1e-4, beta_T: float = 0.02, mode: str = "linear"):
        super().__init__()
        # In float64, cast at the end: a product of a thousand rounded factors would drift.
        if mode == "linear":
            betas = torch.linspace(beta_1, beta_T, num_train_timesteps, dtype=torch.float64)
        elif mode == "quad":
            betas = torch.linspace(beta_1**0.5, beta_T**0.5, num_train_timesteps, dtype=torch.float64) ** 2
        else:
            raise ValueError(f"unknown mode '{mode}' of the variance schedule; known are linear, quad")
        alphas = 1.0 - betas
        alphas_cumprod = alphas.cumprod(dim=0)  # DDPM Sec. 2: alpha-bar_t, the product of the alphas up to t

        self.num_train_timesteps = num_train_timesteps
        self.config = {
            "num_train_timesteps": num_train_timesteps,
            "beta_1": beta_1,
            "beta_T": beta_T,
            "mode": mode,
        }
        self.register_buffer("betas", betas.float())
        self.register_buffer("alphas", alphas.float())
        self.register_buffer("alphas_cumprod", alphas_cumprod.float())


def extract(input: torch.Tensor, t: Timestep, x: torch.Tensor) -> torch.Tensor:
    """Looks up `input` (T,) at the timesteps t, shaped to be multiplied with x.

    For x of shape (B, D) the result is (B, 1), or (1, 1) for a t that all of x shares.
    """
    t = torch.as_tensor(t, device=input.device).long().reshape(-1)
    return input[t].reshape(-1, *[1] * (x.dim() - 1))


def one_t_per_point(t: Timestep, x: torch.Tensor) -> torch.Tensor:
    """Any of the accepted forms of t, as a LongTensor (B,) on the device of x."""
    return torch.as_tensor(t, device=x.device).long().reshape(-1).expand(x.shape[0])


class DiffusionModule(nn.Module):
    """A noise-estimating network together with the process that it was trained to reverse."""

    def __init__(self, network: nn.Module, var_scheduler: BaseScheduler):
        super().__init__()
        self.network = network
        self.var_scheduler = var_scheduler

    @property
    def device(self) -> torch.device:
        return self.var_scheduler.betas.device

    def q_sample(self, x0: torch.Tensor, t: Timestep, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Forward process in one jump: a sample of q(x_t | x_0).

        Args:
            x0: clean points, (B, D)
            t: timestep, an int or a tensor (), (1,) or (B,)
            noise: standard Gaussian noise, (B, D); drawn here if None
        Returns:
            noisy points x_t, (B, D)
        """
        if noise is None:
            noise = torch.randn_like(x0)

        ##### TODO task1.q_sample #####
        # Compute xt (B, D) from x0 (B, D), noise (B, D) and t. extract() reads a table of the schedule at t.
        # q(x_t | x_0) = N(x_t; sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4
        # The second argument of N is a variance; leave x0 itself unchanged.
        ### BEGIN SOLUTION
        alpha_bar_t = extract(self.var_scheduler.alphas_cumprod, t, x0)  # (B, 1)
        xt = alpha_bar_t.sqrt() * x0 + (1 - alpha_bar_t).sqrt() * noise  # DDPM Eq. 4
        ### END SOLUTION
        ##### END TODO task1.q_sample #####

        return xt

    def forward_step(self, x_prev: torch.Tensor, t: Timestep) -> torch.Tensor:
        """Forward process, one step of the Markov chain: a sample of q(x_t | x_{t-1}).

        The whole chain calls it with t = 0, 1, ..., T-1, each time on the result before; t=0 is the step away
        from the clean data.

        Args:
            x_prev: points before the step, (B, D), or images (B, C, H, W)
            t: timestep, an int or a tensor (), (1,) or (B,)
        Returns:
            xt: points after the step, of the same shape
        """
        ##### TODO extra.forward_step #####
        # Companion exercise, 0 points. Compute xt from x_prev and t, with fresh noise of the shape of x_prev.
        # q(x_t | x_{t-1}) = N(x_t; sqrt(1 - beta_t) x_{t-1}, beta_t I)    DDPM Eq. 2
        # The second argument of N is a variance. Use extract(): it fits its result to points and images alike.
        ### BEGIN SOLUTION
        beta_t = extract(self.var_scheduler.betas, t, x_prev)  # (B, 1)
        fresh_noise = torch.randn_like(x_prev)
        xt = (1 - beta_t).sqrt() * x_prev + beta_t.sqrt() * fresh_noise  # DDPM Eq. 2
        ### END SOLUTION
        ##### END TODO extra.forward_step #####

        return xt

    @torch.no_grad()
    def p_sample(self, xt: torch.Tensor, t: Timestep) -> torch.Tensor:
        """Reverse process, one step: a sample of p(x_{t-1} | x_t).

        Args:
            xt: noisy points, (B, D)
            t: the timestep that xt is at, an int or a tensor (), (1,) or (B,)
        Returns:
            x_t_prev: points one step less noisy, (B, D); at t=0 the clean points, without any fresh noise
        """
        t = one_t_per_point(t, xt)  # (B,)

        ##### TODO task1.p_sample #####
        # Compute x_t_prev (B, D) from xt (B, D) and t (B,).
        # 1. eps_theta: the noise that self.network predicts from xt and t
        # 2. mean = (xt - beta_t / sqrt(1 - alpha-bar_t) eps_theta) / sqrt(alpha_t)           DDPM Eq. 11
        # 3. beta-tilde_t = (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t) beta_t, a variance     DDPM Sec. 3.2
        # 4. x_t_prev = mean + sqrt(beta-tilde_t) z with z ~ N(0, I)                         DDPM Alg. 2
        # Before the first step nothing has been added yet, so at t=0 alpha-bar_{t-1} is 1: the last step adds
        # no noise. There is no table entry for it: index -1 is the noisiest one, and index 0 is alpha-bar_0.
        ### BEGIN SOLUTION
        beta_t = extract(self.var_scheduler.betas, t, xt)  # (B, 1)
        alpha_t = extract(self.var_scheduler.alphas, t, xt)
        alpha_bar_t = extract(self.var_scheduler.alphas_cumprod, t, xt)
        alphas_cumprod_before = F.pad(self.var_scheduler.alphas_cumprod, (1, 0), value=1.0)
        alpha_bar_before = extract(alphas_cumprod_before, t, xt)  # alpha-bar_{t-1}; 1 at t=0

        eps_theta = self.network(xt, t)
        mean = (xt - beta_t / (1 - alpha_bar_t).sqrt() * eps_theta) / alpha_t.sqrt()  # DDPM Eq. 11
        beta_tilde_t = (1 - alpha_bar_before) / (1 - alpha_bar_t) * beta_t  # DDPM Sec. 3.2; 0 at t=0
        x_t_prev = mean + beta_tilde_t.sqrt() * torch.randn_like(xt)  # DDPM Alg. 2
        ### END SOLUTION
        ##### END TODO task1.p_sample #####

        return x_t_prev

    @torch.no_grad()
    def p_sample_loop(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Reverse process from pure noise to data.

        Args:
            shape: of the result, for example (2048, 2)
        Returns:
            x0_pred: generated points, of that shape, on self.device
        """
        ##### TODO task1.p_sample_loop #####
        # Generate x0_pred (of the given shape) with DDPM Algorithm 2: start from
        # x_T ~ N(0, I) on self.device, then take the reverse step self.p_sample once for every timestep, from
        # the noisiest to t=0.
        # x_{t-1} ~ p(x_{t-1} | x_t)  for t = T-1, ..., 0    DDPM Alg. 2
        ### BEGIN SOLUTION
        xt = torch.randn(shape, device=self.device)  # DDPM Alg. 2, line 1
        for t in reversed(range(self.var_scheduler.num_train_timesteps)):
            xt = self.p_sample(xt, t)
        x0_pred = xt
        ### END SOLUTION
        ##### END TODO task1.p_sample_loop #####

        return x0_pred

    @torch.no_grad()
    def naive_skip(self, shape: tuple[int, ...], k: int) -> torch.Tensor:
        """A faster sampler that does not work: every k-th reverse step, each as it is. companions.ipynb shows why.

        It visits t = T-1, T-1-k, T-1-2k, ... as long as they are not negative; k=1 is p_sample_loop.

        Args:
            shape: of the result, for example (2048, 2)
            k: stride between the timesteps visited, at least 1
        Returns:
            x0_pred: generated points, of that shape, on self.device
        """
        ##### TODO extra.naive_skip #####
        # Companion exercise, 0 points. Generate x0_pred (of the given shape): start from noise as in p_sample_loop,
        # and call the ordinary step self.p_sample at t = T-1, T-1-k, T-1-2k, ... down to the last one that is not
        # negative. Where that is not t=0, a last step at t=0 may follow or not: both count as right.
        # Hand each result on as it is, without correcting it for the steps left out.
        ### BEGIN SOLUTION
        noisy = torch.randn(shape, device=self.device)
        for visited_t in range(self.var_scheduler.num_train_timesteps - 1, -1, -k):
            noisy = self.p_sample(noisy, visited_t)
        x0_pred = noisy
        ### END SOLUTION
        ##### END TODO extra.naive_skip #####

        return x0_pred

    def compute_loss(self, x0: torch.Tensor) -> torch.Tensor:
        """The simplified noise-matching loss, averaged over points and features.

        Args:
            x0: clean points, (B, D)
        Returns:
            loss: a scalar, ready for backward()
        """
        ##### TODO task1.compute_loss #####
        # Compute the scalar loss of one batch x0 (B, D).
        # Draw a timestep per point, uniform on 0..T-1, as a LongTensor (B,); noise the points with
        # self.q_sample; let self.network predict the noise; compare it with the noise that was really added.
        # L_simple = E || eps - eps_theta(x_t, t) ||^2, as a mean over all B x D numbers    DDPM Eq. 14
        ### BEGIN SOLUTION
        num_points = x0.shape[0]
        t = torch.randint(self.var_scheduler.num_train_timesteps, (num_points,), device=x0.device)  # (B,)
        eps = torch.randn_like(x0)
        xt = self.q_sample(x0, t, eps)
        loss = F.mse_loss(self.network(xt, t), eps)  # DDPM Eq. 14
        ### END SOLUTION
        ##### END TODO task1.compute_loss #####

        return loss

    def save(self, path) -> None:
        """Writes one file: the weights, and the schedule's settings as JSON text. Nothing in it is code."""
        torch.save({"config": json.dumps(self.var_scheduler.config), "state_dict": self.state_dict()}, path)

    def load(self, path) -> None:
        """Reads what save() wrote into this module. Raises ValueError for another schedule."""
        checkpoint = torch.load(path, map_location=self.device, weights_only=True)
        config = json.loads(checkpoint["config"])
        if config != self.var_scheduler.config:
            raise ValueError(f"the checkpoint has the schedule {config}, not {self.var_scheduler.config}")
        self.load_state_dict(checkpoint["state_dict"])
