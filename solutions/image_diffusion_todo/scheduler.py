"""The variance schedules and the two directions of the diffusion process on images.

DDPM is Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239; IDDPM is Nichol, Dhariwal 2021, "Improved
Denoising Diffusion Probabilistic Models", https://arxiv.org/abs/2102.09672. Images are (B, C, H, W) in
[-1, 1]; T is the number of timesteps.

Index rule: timesteps are t = 0..T-1, and the code's t=0 is the paper's t=1. So betas[0] is the paper's
beta_1, and the reverse step at t=0 yields the clean image. A function that takes t takes an int, or a tensor
(), (1,) or (B,).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

MODES = ("linear", "quad", "cosine")
SIGMA_TYPES = ("small", "large")
Timestep = int | torch.Tensor


def cosine_betas(num_train_timesteps: int, s: float = 0.008, max_beta: float = 0.999) -> torch.Tensor:
    """The cosine schedule of IDDPM Sec. 3.2: betas (T,), float64.

    Args:
        num_train_timesteps: T
        s: offset that keeps the first betas from being vanishingly small
        max_beta: upper limit of the betas, without which the last one would be 1
    """
    ##### TODO task2.cosine #####
    # Compute betas (T,), in float64, so that alpha-bar falls along a squared cosine.
    # f(t) = cos^2( (t/T + s) / (1 + s) * pi/2 ),  alpha-bar_t = f(t) / f(0)    IDDPM Eq. 17
    # beta_t = min( 1 - alpha-bar_t / alpha-bar_{t-1}, max_beta )               IDDPM Sec. 3.2
    # Here t is the paper's: alpha-bar is needed at t = 0, 1, ..., T, and the T betas lie between neighbours.
    ### BEGIN SOLUTION
    steps = torch.arange(num_train_timesteps + 1, dtype=torch.float64)  # 0..T, the paper's index
    f = torch.cos((steps / num_train_timesteps + s) / (1 + s) * math.pi / 2) ** 2
    alphas_cumprod = f / f[0]  # IDDPM Eq. 17
    betas = (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=max_beta)
    ### END SOLUTION
    ##### END TODO task2.cosine #####
    return betas


def make_betas(num_train_timesteps: int, beta_1: float, beta_T: float, mode: str) -> torch.Tensor:
    """The betas (T,) of the schedule `mode`, in float64: a product of many rounded factors would drift."""
    if mode == "linear":
        return torch.linspace(beta_1, beta_T, num_train_timesteps, dtype=torch.float64)
    if mode == "quad":
        return torch.linspace(beta_1**0.5, beta_T**0.5, num_train_timesteps, dtype=torch.float64) ** 2
    if mode == "cosine":
        return cosine_betas(num_train_timesteps)  # beta_1 and beta_T have no part in it
    raise ValueError(f"unknown mode '{mode}' of the variance schedule; known are {', '.join(MODES)}")


class BaseScheduler(nn.Module):
    """A variance schedule: buffers `betas`, `alphas`, `alphas_cumprod` (alpha-bar), each (T,) and float32.

    The buffer `timesteps` holds T-1, ..., 0, the order in which the reverse process visits them.
    """

    def __init__(self, num_train_timesteps: int, beta_1: float, beta_T: float, mode: str = "linear"):
        super().__init__()
        betas = make_betas(num_train_timesteps, beta_1, beta_T, mode)
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
        self.register_buffer("timesteps", torch.arange(num_train_timesteps - 1, -1, -1))

    def uniform_sample_t(self, batch_size: int, device: torch.device | None = None) -> torch.Tensor:
        """Random timesteps, uniform on 0..T-1: LongTensor (B,), by default where the schedule is."""
        device = self.betas.device if device is None else device
        return torch.randint(self.num_train_timesteps, (batch_size,), device=device)

    @staticmethod
    def one_t_per_image(t: Timestep, x: torch.Tensor) -> torch.Tensor:
        """Any of the accepted forms of t, as a LongTensor (B,) on the device of x."""
        return torch.as_tensor(t, device=x.device).long().reshape(-1).expand(x.shape[0])

    @staticmethod
    def lookup(table: torch.Tensor, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Entries of table (T,) at t (B,), shaped (B, 1, 1, 1) to be multiplied with x (B, C, H, W)."""
        return table[t.to(table.device)].reshape(-1, *[1] * (x.dim() - 1))


def without_sigmas(scheduler: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    """Checkpoints of earlier editions hold one table more, which this scheduler has no use for."""
    if not hasattr(scheduler, "sigmas"):
        state_dict.pop(f"{prefix}sigmas", None)


class DDPMScheduler(BaseScheduler):
    """Both directions of the process."""

    def __init__(
        self,
        num_train_timesteps: int,
        beta_1: float,
        beta_T: float,
        mode: str = "linear",
        sigma_type: str = "small",
    ):
        """
        Args:
            sigma_type: the noise of a reverse step has the posterior's variance ("small") or beta_t ("large"). DDPM
                Sec. 3.2 finds that both work. The other arguments are those of BaseScheduler.
        """
        super().__init__(num_train_timesteps, beta_1, beta_T, mode)
        if sigma_type not in SIGMA_TYPES:
            raise ValueError(f"unknown sigma_type '{sigma_type}'; known are {', '.join(SIGMA_TYPES)}")
        self.config["sigma_type"] = sigma_type
        self.sigma_type = sigma_type
        self.register_load_state_dict_pre_hook(without_sigmas)

    def add_noise(
        self, x_0: torch.Tensor, t: Timestep, eps: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward process in one jump: a sample of q(x_t | x_0), and the noise in it.

        Args:
            x_0: clean images, (B, C, H, W)
            t: timestep, an int or a tensor (), (1,) or (B,)
            eps: standard Gaussian noise, (B, C, H, W); drawn here if None
        Returns:
            x_t and eps, (B, C, H, W) each
        """
        if eps is None:
            eps = torch.randn_like(x_0)
        t = self.one_t_per_image(t, x_0)  # (B,)

        ##### TODO task2.add_noise #####
        # Compute x_t (B, C, H, W) from x_0, eps (B, C, H, W) and t (B,). self.lookup() reads a table at t.
        # q(x_t | x_0) = N(x_t; sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I)    DDPM Eq. 4
        ### BEGIN SOLUTION
        alpha_bar_t = self.lookup(self.alphas_cumprod, t, x_0)  # (B, 1, 1, 1)
        x_t = alpha_bar_t.sqrt() * x_0 + (1 - alpha_bar_t).sqrt() * eps  # DDPM Eq. 4
        ### END SOLUTION
        ##### END TODO task2.add_noise #####

        return x_t, eps

    def step(self, x_t: torch.Tensor, t: Timestep, net_out: torch.Tensor, predictor: str) -> torch.Tensor:
        """One reverse step, x_t -> x_{t-1}, (B, C, H, W), for a network that predicts `predictor`."""
        if predictor == "noise":
            return self.step_predict_noise(x_t, t, net_out)
        if predictor == "x0":
            return self.step_predict_x0(x_t, t, net_out)
        if predictor == "mean":
            return self.step_predict_mean(x_t, t, net_out)
        raise ValueError(f"unknown predictor '{predictor}'; known are noise, x0, mean")

    def step_predict_noise(self, x_t: torch.Tensor, t: Timestep, eps_theta: torch.Tensor) -> torch.Tensor:
        """Reverse step from the predicted noise.

        Args:
            x_t: noisy images, (B, C, H, W)
            t: the timestep that x_t is at, an int or a tensor (), (1,) or (B,)
            eps_theta: predicted noise, (B, C, H, W)
        Returns:
            sample_prev: images one step less noisy, (B, C, H, W); no fresh noise at t=0
        """
        t = self.one_t_per_image(t, x_t)  # (B,)

        ##### TODO task2.step_noise #####
        # Compute sample_prev (B, C, H, W) from x_t, eps_theta (B, C, H, W) and t (B,).
        # mean = (x_t - beta_t / sqrt(1 - alpha-bar_t) eps_theta) / sqrt(alpha_t)       DDPM Eq. 11
        # beta-tilde_t = (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t) beta_t, a variance   DDPM Sec. 3.2
        # sample_prev = mean + sqrt(beta-tilde_t) z, z ~ N(0, I), but no z at t=0      DDPM Alg. 2
        # Where self.sigma_type is "large", beta_t takes the place of beta-tilde_t.
        # There is no table entry for alpha-bar_{t-1} at t=0: before the first step it is 1.
        ### BEGIN SOLUTION
        alphas_cumprod_before = F.pad(self.alphas_cumprod, (1, 0), value=1.0)  # entry t is alpha-bar_{t-1}; 1 at t=0
        alpha_bar_before = self.lookup(alphas_cumprod_before, t, x_t)  # (B, 1, 1, 1)
        alpha_bar_t = self.lookup(self.alphas_cumprod, t, x_t)
        alpha_t = self.lookup(self.alphas, t, x_t)
        beta_t = self.lookup(self.betas, t, x_t)

        mean = (x_t - beta_t / (1 - alpha_bar_t).sqrt() * eps_theta) / alpha_t.sqrt()  # DDPM Eq. 11
        beta_tilde_t = (1 - alpha_bar_before) / (1 - alpha_bar_t) * beta_t  # DDPM Sec. 3.2
        variance = beta_t if self.sigma_type == "large" else beta_tilde_t
        z = torch.randn_like(x_t)
        z[t == 0] = 0.0
        sample_prev = mean + variance.sqrt() * z  # DDPM Alg. 2
        ### END SOLUTION
        ##### END TODO task2.step_noise #####

        return sample_prev

    def step_predict_x0(self, x_t: torch.Tensor, t: Timestep, x0_pred: torch.Tensor) -> torch.Tensor:
        """Reverse step from the predicted clean images, x0_pred (B, C, H, W); the rest as in step_predict_noise."""
        t = self.one_t_per_image(t, x_t)  # (B,)

        ##### TODO task2.step_x0 #####
        # Compute sample_prev (B, C, H, W) from x_t, x0_pred (B, C, H, W) and t (B,). The mean is a blend:
        # mean = sqrt(alpha-bar_{t-1}) beta_t / (1 - alpha-bar_t) x0_pred
        #        + sqrt(alpha_t) (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t) x_t    DDPM Eq. 7
        # The variance is the one of step_predict_noise, and t=0 gets no noise.
        # Before the first step nothing has been added yet: at t=0 alpha-bar_{t-1} is 1, the mean is x0_pred.
        ### BEGIN SOLUTION
        alphas_cumprod_before = F.pad(self.alphas_cumprod, (1, 0), value=1.0)  # entry t is alpha-bar_{t-1}; 1 at t=0
        alpha_bar_before = self.lookup(alphas_cumprod_before, t, x_t)  # (B, 1, 1, 1)
        alpha_bar_t = self.lookup(self.alphas_cumprod, t, x_t)
        alpha_t = self.lookup(self.alphas, t, x_t)
        beta_t = self.lookup(self.betas, t, x_t)

        weight_x0 = alpha_bar_before.sqrt() * beta_t / (1 - alpha_bar_t)
        weight_xt = alpha_t.sqrt() * (1 - alpha_bar_before) / (1 - alpha_bar_t)
        mean = weight_x0 * x0_pred + weight_xt * x_t  # DDPM Eq. 7
        beta_tilde_t = (1 - alpha_bar_before) / (1 - alpha_bar_t) * beta_t
        variance = beta_t if self.sigma_type == "large" else beta_tilde_t
        z = torch.randn_like(x_t)
        z[t == 0] = 0.0
        sample_prev = mean + variance.sqrt() * z
        ### END SOLUTION
        ##### END TODO task2.step_x0 #####

        return sample_prev

    def step_predict_mean(self, x_t: torch.Tensor, t: Timestep, mean_theta: torch.Tensor) -> torch.Tensor:
        """Reverse step from the predicted mean, mean_theta (B, C, H, W); the rest as in step_predict_noise."""
        t = self.one_t_per_image(t, x_t)  # (B,)

        ##### TODO task2.step_mean #####
        # Compute sample_prev (B, C, H, W) from mean_theta (B, C, H, W) and t (B,). The network
        # has done most of the work; the variance is the one of step_predict_noise.
        # sample_prev = mean_theta + sqrt(beta-tilde_t) z, z ~ N(0, I), but no z at t=0    DDPM Alg. 2
        ### BEGIN SOLUTION
        alphas_cumprod_before = F.pad(self.alphas_cumprod, (1, 0), value=1.0)  # entry t is alpha-bar_{t-1}; 1 at t=0
        alpha_bar_before = self.lookup(alphas_cumprod_before, t, x_t)  # (B, 1, 1, 1)
        alpha_bar_t = self.lookup(self.alphas_cumprod, t, x_t)
        beta_t = self.lookup(self.betas, t, x_t)
        beta_tilde_t = (1 - alpha_bar_before) / (1 - alpha_bar_t) * beta_t
        variance = beta_t if self.sigma_type == "large" else beta_tilde_t
        z = torch.randn_like(x_t)
        z[t == 0] = 0.0
        sample_prev = mean_theta + variance.sqrt() * z  # DDPM Alg. 2
        ### END SOLUTION
        ##### END TODO task2.step_mean #####

        return sample_prev
