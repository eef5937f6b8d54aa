"""A network, the diffusion process around it, and what the network is trained to predict.

DDPM is Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239. Images are (B, C, H, W) in [-1, 1]. Timesteps
are t = 0..T-1, and the code's t=0 is the paper's t=1.
"""

import json

import torch
import torch.nn.functional as F
from torch import nn

PREDICTORS = ("noise", "x0", "mean")


class DiffusionModule(nn.Module):
    """Trains `network` to predict the noise, the clean image or the posterior mean, and samples with it."""

    def __init__(self, network: nn.Module, var_scheduler: nn.Module, predictor: str = "noise"):
        super().__init__()
        if predictor not in PREDICTORS:
            raise ValueError(f"unknown predictor '{predictor}'; known are {', '.join(PREDICTORS)}")
        self.network = network
        self.var_scheduler = var_scheduler
        self.predictor = predictor

    @property
    def device(self) -> torch.device:
        return self.var_scheduler.betas.device

    @property
    def image_resolution(self) -> int:
        """Height and width in pixels of the images that the network was built for."""
        return self.network.image_resolution

    def get_loss(
        self, x0: torch.Tensor, class_label: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scalar loss of a batch x0 (B, C, H, W), for whatever the network predicts."""
        if self.predictor == "noise":
            return self.get_loss_noise(x0, class_label, noise)
        if self.predictor == "x0":
            return self.get_loss_x0(x0, class_label, noise)
        return self.get_loss_mean(x0, class_label, noise)

    def get_loss_noise(
        self, x0: torch.Tensor, class_label: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Loss of a network that predicts the noise.

        Args:
            x0: clean images, (B, C, H, W)
            class_label: passed on to the network; None for a network without classes
            noise: standard Gaussian noise, (B, C, H, W); drawn if None
        Returns:
            loss: a scalar, the mean over all B x C x H x W numbers
        """
        ##### TODO task2.loss_noise #####
        # Compute the scalar loss of x0 (B, C, H, W).
        # Draw t (B,) with self.var_scheduler.uniform_sample_t and noise x0 with self.var_scheduler.add_noise,
        # which also returns the noise that it used; then compare the network's output with that noise.
        # The network is called as self.network(x_t, timestep=t, class_label=class_label).
        # L = E || eps - eps_theta(x_t, t) ||^2, as a mean over all numbers    DDPM Eq. 14
        ### BEGIN SOLUTION
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)  # (B,)
        x_t, eps = self.var_scheduler.add_noise(x0, t, noise)
        eps_theta = self.network(x_t, timestep=t, class_label=class_label)
        loss = F.mse_loss(eps_theta, eps)  # DDPM Eq. 14
        ### END SOLUTION
        ##### END TODO task2.loss_noise #####
        return loss

    def get_loss_x0(
        self, x0: torch.Tensor, class_label: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Loss of a network that predicts the clean image; arguments and result as in get_loss_noise."""
        ##### TODO task2.loss_x0 #####
        # Compute the scalar loss of x0 (B, C, H, W): as in get_loss_noise, but the network predicts
        # the clean image.
        # L = E || x_0 - x_theta(x_t, t) ||^2, as a mean over all numbers    DDPM Sec. 3.2
        ### BEGIN SOLUTION
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)  # (B,)
        x_t, _ = self.var_scheduler.add_noise(x0, t, noise)
        x0_theta = self.network(x_t, timestep=t, class_label=class_label)
        loss = F.mse_loss(x0_theta, x0)
        ### END SOLUTION
        ##### END TODO task2.loss_x0 #####
        return loss

    def get_loss_mean(
        self, x0: torch.Tensor, class_label: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Loss of a network that predicts the posterior mean; arguments and result as in get_loss_noise."""
        ##### TODO task2.loss_mean #####
        # Compute the scalar loss of x0 (B, C, H, W): the network's output stands for mu-tilde_t, the mean of
        # q(x_{t-1} | x_t, x_0), with x_t the noisy image that the network was given.
        # mu-tilde_t = sqrt(alpha-bar_{t-1}) beta_t / (1 - alpha-bar_t) x_0
        #              + sqrt(alpha_t) (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t) x_t    DDPM Eq. 7
        # L = E || mu-tilde_t - mu_theta(x_t, t) ||^2, as a mean over all numbers     DDPM Eq. 8, unweighted
        # At t=0 alpha-bar_{t-1} is 1, the value before any noise: mu-tilde_0 is x_0 itself.
        ### BEGIN SOLUTION
        scheduler = self.var_scheduler
        t = scheduler.uniform_sample_t(x0.shape[0], x0.device)  # (B,)
        x_t, _ = scheduler.add_noise(x0, t, noise)
        mean_theta = self.network(x_t, timestep=t, class_label=class_label)

        alphas_cumprod_before = F.pad(scheduler.alphas_cumprod, (1, 0), value=1.0)  # entry t is alpha-bar_{t-1}
        tables = (alphas_cumprod_before, scheduler.alphas_cumprod, scheduler.alphas, scheduler.betas)
        alpha_bar_before, alpha_bar_t, alpha_t, beta_t = (table[t].reshape(-1, 1, 1, 1) for table in tables)
        mean = alpha_bar_before.sqrt() * beta_t / (1 - alpha_bar_t) * x0  # DDPM Eq. 7, first half
        mean = mean + alpha_t.sqrt() * (1 - alpha_bar_before) / (1 - alpha_bar_t) * x_t
        loss = F.mse_loss(mean_theta, mean)  # DDPM Eq. 8
        ### END SOLUTION
        ##### END TODO task2.loss_mean #####
        return loss

    @torch.no_grad()
    def sample(
        self, batch_size: int, return_traj: bool = False, class_label: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Generates images from pure noise, with one call of the network per timestep.

        Args:
            batch_size: B
            return_traj: every image on the way as well
            class_label: passed on to the network; None for a network without classes
        Returns:
            images (B, C, H, W) around [-1, 1], not clipped; with return_traj the list x_T, ..., x_0 of T+1
            such tensors, on the CPU because together they are large
        """
        size = self.image_resolution
        x_t = torch.randn(batch_size, self.network.image_channels, size, size, device=self.device)
        trajectory = [x_t.cpu()] if return_traj else []
        for t in self.var_scheduler.timesteps:  # T-1, ..., 0
            net_out = self.network(x_t, timestep=t.expand(batch_size), class_label=class_label)
            x_t = self.var_scheduler.step(x_t, t, net_out, predictor=self.predictor)
            if return_traj:
                trajectory.append(x_t.cpu())
        return trajectory if return_traj else x_t

    @property
    def config(self) -> dict:
        """What it takes to build this module again, in types that JSON knows."""
        return {
            "predictor": self.predictor,
            "scheduler": self.var_scheduler.config,
            "network": getattr(self.network, "config", None),
        }

    def save(self, path) -> None:
        """Writes one file: the weights, and the settings as JSON text. Nothing in it is code."""
        torch.save({"config": json.dumps(self.config), "state_dict": self.state_dict()}, path)

    def load(self, path) -> None:
        """Reads what save() wrote into this module. Raises ValueError for other settings."""
        checkpoint = torch.load(path, map_location=self.device, weights_only=True)
        config = json.loads(checkpoint["config"])
        for part, ours in self.config.items():
            if config[part] != ours:
                raise ValueError(f"the checkpoint's {part} is {config[part]}, this module's is {ours}")
        self.load_state_dict(checkpoint["state_dict"])
