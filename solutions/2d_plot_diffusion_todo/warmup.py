"""Two warm-ups with pencil and paper: one training step, and the sampler, of a model that is a single matrix.

The model guesses the noise in x_t from x_t and the time, without any activation:

    input = [x_t, t/T]                (N, d+1), the last column is the same number in every row
    predicted = input @ w_model       (N, d)

N is the number of points, d the number of their features, T the number of timesteps t = 0..T-1; the code's t=0 is the
paper's t=1. DDPM is Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239.

So small a model needs no autograd: both functions run with gradients disabled. Randomness comes from generators of
their own, made from the seed, so that the same arguments always give the same numbers:

    generator = torch.Generator().manual_seed(int(seed))
    torch.randn(N, d, generator=generator)
"""

import torch


def train_step(
    x_clean: torch.Tensor,
    w_model: torch.Tensor,
    betas: torch.Tensor,
    alpha_bar: torch.Tensor,
    lr: float,
    seed: int,
) -> torch.Tensor:
    """One step of stochastic gradient descent on the noise-matching loss, its gradient derived by hand.

    Args:
        x_clean: clean points, (N, d)
        w_model: weights of the model, (d+1, d); they stay as they are
        betas: variance schedule, (T,)
        alpha_bar: cumulative product of 1 - betas, (T,)
        lr: learning rate
        seed: of the draws: `seed` for the timestep, `seed + 1` for the noise
    Returns:
        the weights after the step, flattened row by row, ((d+1)*d,)
    """
    num_timesteps = betas.shape[0]

    ##### TODO extra.train_step #####
    # Compute w_new ((d+1)*d,) from x_clean (N, d), w_model (d+1, d), alpha_bar (T,), lr and seed.
    # 1. t: one timestep for all points, torch.randint(0, num_timesteps, (1,), generator=...) of a generator seeded
    #    with seed
    # 2. eps (N, d): torch.randn of a new generator, seeded with seed + 1
    # 3. x_t = sqrt(alpha-bar_t) x_clean + sqrt(1 - alpha-bar_t) eps    DDPM Eq. 4
    # 4. the model's input (N, d+1) and what it predicts (N, d)
    # 5. loss = mean of (predicted - eps)^2 over all N*d entries        DDPM Eq. 14
    #    Its derivative by each entry of `predicted` is 2 / (N d) (predicted - eps); the chain rule carries that
    #    back through the product. Which order of the factors gives the shape (d+1, d)?
    # 6. one step downhill: weights minus lr times gradient
    ### BEGIN SOLUTION
    num_points, dim = x_clean.shape
    of_t = torch.Generator().manual_seed(int(seed))
    t = int(torch.randint(0, num_timesteps, (1,), generator=of_t))
    of_eps = torch.Generator().manual_seed(int(seed) + 1)
    eps = torch.randn(num_points, dim, generator=of_eps)

    x_t = alpha_bar[t].sqrt() * x_clean + (1 - alpha_bar[t]).sqrt() * eps  # DDPM Eq. 4
    model_input = torch.cat([x_t, torch.full((num_points, 1), t / num_timesteps)], dim=1)  # (N, d+1)
    predicted = model_input @ w_model  # (N, d)
    by_predicted = 2 / (num_points * dim) * (predicted - eps)  # (N, d), derivative of DDPM Eq. 14
    by_weights = model_input.T @ by_predicted  # (d+1, d)
    w_new = (w_model - lr * by_weights).flatten()
    ### END SOLUTION
    ##### END TODO extra.train_step #####

    return w_new


def sample(
    w_model: torch.Tensor,
    shape: torch.Tensor,
    betas: torch.Tensor,
    alpha_bar: torch.Tensor,
    seed: int,
) -> torch.Tensor:
    """The reverse process from pure noise to points, with the same model.

    Args:
        w_model: weights of the model, (d+1, d)
        shape: of the result, a tensor [N, d] of floats
        betas: variance schedule, (T,)
        alpha_bar: cumulative product of 1 - betas, (T,)
        seed: of the draws: `seed` for the start, `seed + 100 + t` for the noise of the step at t
    Returns:
        points, (N, d)
    """
    num_points, dim = (int(size) for size in shape)
    num_timesteps = betas.shape[0]

    ##### TODO extra.sampler_loop #####
    # Compute x (num_points, dim) with DDPM Algorithm 2.
    # 1. x_T: torch.randn(num_points, dim, generator=...) of a generator seeded with seed
    # 2. for t from T-1 down to 0, one step: the model predicts eps_theta from [x, t/T], then
    #    mean = (x - beta_t / sqrt(1 - alpha-bar_t) eps_theta) / sqrt(alpha_t), alpha_t = 1 - beta_t    DDPM Eq. 11
    #    x = mean + sqrt(beta_t) z, z from a new generator seeded with seed + 100 + t
    #    The variance is beta_t here, the other choice of DDPM Sec. 3.2 than in p_sample.
    #    At t=0 the step is the mean alone.
    ### BEGIN SOLUTION
    of_start = torch.Generator().manual_seed(int(seed))
    x = torch.randn(num_points, dim, generator=of_start)
    for t in reversed(range(num_timesteps)):
        model_input = torch.cat([x, torch.full((num_points, 1), t / num_timesteps)], dim=1)  # (N, d+1)
        eps_theta = model_input @ w_model  # (N, d)
        x = (x - betas[t] / (1 - alpha_bar[t]).sqrt() * eps_theta) / (1 - betas[t]).sqrt()  # DDPM Eq. 11
        if t > 0:  # DDPM Alg. 2, line 3
            of_step = torch.Generator().manual_seed(int(seed) + 100 + t)
            x = x + betas[t].sqrt() * torch.randn(num_points, dim, generator=of_step)
    ### END SOLUTION
    ##### END TODO extra.sampler_loop #####

    return x
