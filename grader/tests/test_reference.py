"""The judge's float64 mathematics against closed forms by hand, against diffusers, and against the solutions."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from grader.lab import reference
from grader.lab.reference import Schedule
from grader.tests.lab import load_half

RANGES = {10: (0.01, 0.3), 1000: (1e-4, 0.02)}
SCHEDULES = {"linear": "linear", "quad": "scaled_linear", "cosine": "squaredcos_cap_v2"}
OURS = [(T, mode) for T in RANGES for mode in SCHEDULES]

# What float32 costs. A table entry is rounded by 6e-8 of its size, and linspace in float32 errs by a few times that;
# a product of 1000 such alphas, each rounded by 6e-8, drifts by 6e-5, and so does alpha = 1 - 0.999 of the cosine.
BETAS_RTOL = 1e-6
BARS_RTOL = 2e-4
# 1 - alpha-bar is 0.01 at t = 0 of T = 10, but 1e-4 for T = 1000, where its rounding by 6e-8 is 6e-4 of it: the weights
# of x_0 and noise may take that over.
FLOAT32_ATOL = {10: 5e-6, 1000: 1e-3}
# In float64, 1 - alpha_t from a ratio of alpha-bars, as diffusers takes it, keeps 1e-16 / 1e-4 of its digits.
FLOAT64_RTOL = 1e-9


def schedule_of(T, mode):
    return Schedule.cosine(T) if mode == "cosine" else getattr(Schedule, mode)(T, *RANGES[T])


def diffusers_scheduler(T, mode, **options):
    """Their scheduler, and the same one with its tables in float64 and its betas as one of our schedules."""
    beta_1, beta_T = RANGES[T]
    scheduler = DDPMScheduler(
        T, beta_1, beta_T, SCHEDULES[mode], clip_sample=False, variance_type="fixed_small", **options
    )
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler, Schedule(scheduler.betas.numpy())


class TestByHand:
    """betas 1/2 and 1/2: alpha-bar 1/2 and 1/4."""

    two = Schedule(np.array([0.5, 0.5]))

    def test_tables(self):
        np.testing.assert_allclose(self.two.ab, [1 / 2, 1 / 4])
        np.testing.assert_allclose(self.two.ab_prev, [1, 1 / 2])
        np.testing.assert_allclose(self.two.posterior_variance, [0, 1 / 3])

    def test_forward_process_at_mixed_t(self):
        x_t = reference.q_sample(self.two, np.ones((2, 1)), np.array([1, 0]), np.full((2, 1), 2.0))
        np.testing.assert_allclose(x_t, [[1 / 2 + math.sqrt(3)], [math.sqrt(1 / 2) + math.sqrt(2)]])

    def test_posterior_mean(self):
        of_xt, of_x0 = reference.posterior_mean_tables(self.two)
        np.testing.assert_allclose(of_xt, [0, math.sqrt(2) / 3])
        np.testing.assert_allclose(of_x0, [1, math.sqrt(2) / 3])

    def test_steps(self):
        noise = reference.step_tables(self.two, "noise")
        np.testing.assert_allclose(noise.a, [math.sqrt(2)] * 2)
        np.testing.assert_allclose(noise.b, [-1, -math.sqrt(2 / 3)])
        np.testing.assert_allclose(noise.sigma, [0, math.sqrt(1 / 3)])
        np.testing.assert_allclose(reference.step_tables(self.two, "x0", "beta").sigma, [0, math.sqrt(1 / 2)])
        mean = reference.step_tables(self.two, "mean")
        np.testing.assert_allclose([mean.a, mean.b], [[0, 0], [1, 1]])

    def test_cosine_by_the_half_angle(self):
        def f(u):
            return (1 + math.cos((u + 0.008) / 1.008 * math.pi)) / 2

        np.testing.assert_allclose(Schedule.cosine(2).betas, [1 - f(0.5) / f(0), 0.999])
        np.testing.assert_allclose(Schedule.cosine(1, clip=0.9).betas, [0.9])
        np.testing.assert_allclose(Schedule.cosine(1000).ab[499], f(0.5) / f(0))  # the product of the ratios telescopes

    def test_linear_and_quadratic(self):
        np.testing.assert_allclose(Schedule.linear(3, 0.1, 0.3).betas, [0.1, 0.2, 0.3])
        np.testing.assert_allclose(Schedule.quad(3, 0.01, 0.09).betas, [0.01, 0.04, 0.09])

    def test_an_unknown_predictor_is_refused(self):
        with pytest.raises(ValueError, match="predictor is noise, x0 or mean, not 'score'"):
            reference.step_tables(self.two, "score")


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_one_step_back_from_x_t_has_the_distribution_of_x_t_minus_1(T, mode):
    s = schedule_of(T, mode)
    of_xt, of_x0 = reference.posterior_mean_tables(s)
    np.testing.assert_allclose(of_x0 + of_xt * np.sqrt(s.ab), np.sqrt(s.ab_prev), rtol=FLOAT64_RTOL)
    variance = s.posterior_variance + of_xt**2 * (1 - s.ab)
    np.testing.assert_allclose(variance, 1 - s.ab_prev, rtol=FLOAT64_RTOL, atol=1e-15)


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_the_two_forms_of_the_posterior_mean_agree(T, mode):
    s, rng, t = schedule_of(T, mode), np.random.default_rng(0), np.arange(T)
    x0, eps = rng.uniform(-1, 1, (T, 3)), rng.standard_normal((T, 3))
    x_t = reference.q_sample(s, x0, t, eps)
    np.testing.assert_allclose(
        reference.mean_from_noise(s, x_t, eps, t), reference.posterior_mean(s, x0, x_t, t), rtol=FLOAT64_RTOL, atol=1e-9
    )


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_tables_are_those_of_diffusers(T, mode):
    theirs = DDPMScheduler(T, *RANGES[T], SCHEDULES[mode])  # in float32
    s = schedule_of(T, mode)
    np.testing.assert_allclose(theirs.betas.numpy(), s.betas, rtol=BETAS_RTOL)
    np.testing.assert_allclose(theirs.alphas_cumprod.numpy(), s.ab, rtol=BARS_RTOL)


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_posterior_variance_is_their_fixed_small_at_every_t(T, mode):
    theirs, s = diffusers_scheduler(T, mode)
    variance = [float(theirs._get_variance(t)) for t in range(T)]
    np.testing.assert_allclose(variance, s.posterior_variance, rtol=FLOAT64_RTOL, atol=1e-19)  # 1e-20 at t = 0


@pytest.mark.parametrize("predictor", ["noise", "x0"])
@pytest.mark.parametrize(("T", "mode"), OURS)
def test_a_step_is_theirs_at_every_t(T, mode, predictor):
    theirs, s = diffusers_scheduler(T, mode, prediction_type={"noise": "epsilon", "x0": "sample"}[predictor])
    tables, rng = reference.step_tables(s, predictor), np.random.default_rng(1)
    for t in range(T):
        x_t, out = rng.standard_normal((2, 1, 5))
        step = theirs.step(torch.from_numpy(out), t, torch.from_numpy(x_t), torch.Generator().manual_seed(t))
        z = torch.randn(1, 5, generator=torch.Generator().manual_seed(t), dtype=torch.float64).numpy()
        ours = tables.a[t] * x_t + tables.b[t] * out + tables.sigma[t] * z
        np.testing.assert_allclose(ours, step.prev_sample.numpy(), rtol=FLOAT64_RTOL, atol=1e-9, err_msg=f"t = {t}")


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_noising_is_theirs_at_every_t(T, mode):
    theirs, s = diffusers_scheduler(T, mode)
    rng, t = np.random.default_rng(2), np.arange(T)
    x0, eps = rng.uniform(-1, 1, (T, 4)), rng.standard_normal((T, 4))
    x_t = theirs.add_noise(torch.from_numpy(x0), torch.from_numpy(eps), torch.from_numpy(t))
    np.testing.assert_allclose(reference.q_sample(s, x0, t, eps), x_t.numpy(), rtol=FLOAT64_RTOL)


def drawn(T, *shape):
    """x_0, noise and t for every timestep, in float32, x_0 inside [-1, 1]."""
    rng = np.random.default_rng(3)
    x0, eps = rng.uniform(-1, 1, (T, *shape)), rng.standard_normal((T, *shape))
    return (torch.from_numpy(value.astype(np.float32)) for value in (x0, eps)), torch.arange(T)


def exact(*tensors):
    return (tensor.double().numpy() for tensor in tensors)


@pytest.mark.parametrize(("T", "mode"), OURS)
def test_the_image_half_computes_the_same_in_float32(T, mode):
    scheduler = load_half("image_diffusion_todo").scheduler.DDPMScheduler(T, *RANGES[T], mode)
    s, ((x0, eps), t) = schedule_of(T, mode), drawn(T, 1, 2, 2)
    np.testing.assert_allclose(scheduler.betas.numpy(), s.betas, rtol=BETAS_RTOL)
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), s.ab, rtol=BETAS_RTOL)  # made in float64
    x_t = scheduler.add_noise(x0, t, eps)[0]
    index, (x0_, eps_, xt_) = t.numpy(), exact(x0, eps, x_t)
    np.testing.assert_allclose(xt_, reference.q_sample(s, x0_, index, eps_), atol=1e-5)
    mean = reference.posterior_mean(s, x0_, xt_, index)
    for predictor, out in (("noise", eps), ("x0", x0), ("mean", torch.from_numpy(mean.astype(np.float32)))):
        torch.manual_seed(4)
        sample = scheduler.step(x_t, t, out, predictor)
        torch.manual_seed(4)
        tables, z = reference.step_tables(s, predictor), torch.randn_like(x_t).double().numpy()
        a, b, sigma = (reference.per_sample(table, index, 4) for table in (tables.a, tables.b, tables.sigma))
        np.testing.assert_allclose(
            sample.numpy(), a * xt_ + b * out.double().numpy() + sigma * z, atol=FLOAT32_ATOL[T], err_msg=predictor
        )


class Given(torch.nn.Module):
    """A network that answers with what it was given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x, t):
        return self.out


@pytest.mark.parametrize(("T", "mode"), [(T, mode) for T, mode in OURS if mode != "cosine"])
def test_the_2d_half_computes_the_same_in_float32(T, mode):
    ddpm = load_half("2d_plot_diffusion_todo").ddpm
    s, ((x0, eps), t) = schedule_of(T, mode), drawn(T, 2)
    module = ddpm.DiffusionModule(Given(eps), ddpm.BaseScheduler(T, *RANGES[T], mode))
    x_t = module.q_sample(x0, t, eps)
    index, (x0_, eps_, xt_) = t.numpy(), exact(x0, eps, x_t)
    np.testing.assert_allclose(xt_, reference.q_sample(s, x0_, index, eps_), atol=1e-5)
    torch.manual_seed(5)
    sample = module.p_sample(x_t, t)
    torch.manual_seed(5)
    tables, z = reference.step_tables(s, "noise"), torch.randn_like(x_t).double().numpy()
    a, b, sigma = (reference.per_sample(table, index, 2) for table in (tables.a, tables.b, tables.sigma))
    np.testing.assert_allclose(sample.numpy(), a * xt_ + b * eps_ + sigma * z, atol=FLOAT32_ATOL[T])
