"""The solved lab, Task 2: schedules, steps and losses against float64 and diffusers; the U-Net's size."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler as DiffusersScheduler
from torch.utils.flop_counter import FlopCounterMode

from grader.tests.lab import load_half

T = 10
PREDICTORS = ["noise", "x0", "mean"]


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


@pytest.fixture
def scheduler(lab):
    return lab.scheduler.DDPMScheduler(T, 0.01, 0.3)


class Echo(torch.nn.Module):
    """A network that returns its input, and remembers what it was shown."""

    image_resolution, image_channels = 8, 3

    def forward(self, x, timestep, class_label=None):
        self.x, self.t, self.class_label = x, timestep, class_label
        return x


def float64_tables():
    betas = np.linspace(0.01, 0.3, T)
    bars = np.cumprod(1 - betas)
    return betas, bars, np.concatenate([[1.0], bars[:-1]])


def posterior_mean(x0, x_t, t):
    betas, bars, before = float64_tables()
    of_x0 = np.sqrt(before[t]) * betas[t] / (1 - bars[t])
    of_xt = np.sqrt(1 - betas[t]) * (1 - before[t]) / (1 - bars[t])
    column = (-1, 1, 1, 1)
    return of_x0.reshape(column) * x0.double().numpy() + of_xt.reshape(column) * x_t.double().numpy()


@pytest.mark.parametrize(
    ("mode", "theirs"), [("linear", "linear"), ("quad", "scaled_linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_schedules_are_those_of_diffusers(lab, mode, theirs):
    ours = lab.scheduler.DDPMScheduler(1000, 1e-4, 0.02, mode)
    other = DiffusersScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=theirs)
    torch.testing.assert_close(ours.betas, other.betas, rtol=1e-3, atol=1e-7)  # theirs are made in float32
    torch.testing.assert_close(ours.alphas_cumprod, other.alphas_cumprod, rtol=1e-3, atol=1e-6)
    assert ours.betas.shape == ours.alphas.shape == ours.alphas_cumprod.shape == (1000,)
    assert ours.timesteps.tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("sigma_type", ["small", "large"])
def test_the_noise_of_a_step_has_the_variance_of_the_sigma_type(lab, sigma_type, predictor, monkeypatch):
    """Fresh noise of 1 everywhere: two steps that differ in it alone differ by sigma_t, which is 0 at t=0."""
    betas, bars, before = float64_tables()
    expected = {"small": np.sqrt((1 - before) / (1 - bars) * betas), "large": np.sqrt(betas)}[sigma_type]
    scheduler = lab.scheduler.DDPMScheduler(T, 0.01, 0.3, sigma_type=sigma_type)
    x = torch.zeros(T, 3, 2, 2)
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    sigmas = scheduler.step(x, torch.arange(T), x, predictor).double().numpy()
    np.testing.assert_allclose(sigmas[1:], np.broadcast_to(expected[1:, None, None, None], (T - 1, 3, 2, 2)), rtol=1e-5)
    assert (sigmas[0] == 0).all()


def test_no_table_of_the_scheduler_gives_the_variance_away(lab):
    scheduler = lab.scheduler.DDPMScheduler(T, 0.01, 0.3)
    assert set(dict(scheduler.named_buffers())) == {"betas", "alphas", "alphas_cumprod", "timesteps"}


def test_a_checkpoint_with_the_sigmas_of_earlier_editions_loads(lab, scheduler):
    tables = {**scheduler.state_dict(), "sigmas": torch.zeros(T)}
    scheduler.load_state_dict(tables)
    module = lab.model.DiffusionModule(Echo(), scheduler)
    module.load_state_dict({f"var_scheduler.{name}": table for name, table in tables.items()})
    scheduler.register_buffer("sigmas", torch.ones(T))  # a table of that name that a student has made
    scheduler.load_state_dict(tables)
    assert (scheduler.sigmas == 0).all()


def test_unknown_choices_are_errors_that_list_the_known_ones(lab, scheduler):
    with pytest.raises(ValueError, match=r"unknown mode 'quadratic' .* known are linear, quad, cosine"):
        lab.scheduler.BaseScheduler(T, 0.01, 0.3, "quadratic")
    with pytest.raises(ValueError, match="unknown sigma_type 'tiny'; known are small, large"):
        lab.scheduler.DDPMScheduler(T, 0.01, 0.3, sigma_type="tiny")
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="unknown predictor 'eps'; known are noise, x0, mean"):
        scheduler.step(x, 0, x, "eps")
    with pytest.raises(ValueError, match="unknown predictor 'eps'; known are noise, x0, mean"):
        lab.model.DiffusionModule(Echo(), scheduler, "eps")


def test_add_noise_is_the_closed_form_at_mixed_t(scheduler):
    _, bars, _ = float64_tables()
    x_0, eps, t = torch.rand(T, 3, 8, 8) * 2 - 1, torch.randn(T, 3, 8, 8), torch.arange(T)
    x_t, used = scheduler.add_noise(x_0, t, eps)
    column = bars.reshape(-1, 1, 1, 1)
    expected = np.sqrt(column) * x_0.double().numpy() + np.sqrt(1 - column) * eps.double().numpy()
    np.testing.assert_allclose(x_t, expected, atol=1e-6)
    assert used is eps


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("t", [0, 1, 6, T - 1])
def test_steps_have_the_posterior_mean_and_variance(scheduler, predictor, t):
    betas, bars, before = float64_tables()
    torch.manual_seed(0)
    x_0, eps = torch.rand(1, 3, 2, 2) * 2 - 1, torch.randn(1, 3, 2, 2)
    x_t, _ = scheduler.add_noise(x_0, t, eps)
    mean = posterior_mean(x_0, x_t, np.array([t]))
    net_out = {"noise": eps, "x0": x_0, "mean": torch.from_numpy(mean).float()}[predictor]
    big = (20_000, 3, 2, 2)
    steps = scheduler.step(x_t.expand(big), t, net_out.expand(big), predictor).double().numpy()
    sigma = math.sqrt((1 - before[t]) / (1 - bars[t]) * betas[t])
    np.testing.assert_allclose(steps.mean(axis=0, keepdims=True), mean, atol=max(2e-5, 5 * sigma / 141))
    np.testing.assert_allclose(steps.std(axis=0), sigma, rtol=0.04, atol=1e-6)


@pytest.mark.parametrize("sigma_type", ["small", "large"])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_the_step_at_t0_adds_no_noise_even_with_large_sigmas(lab, sigma_type, predictor):
    scheduler = lab.scheduler.DDPMScheduler(T, 0.01, 0.3, sigma_type=sigma_type)
    x_t, net_out = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert torch.equal(scheduler.step(x_t, 0, net_out, predictor), scheduler.step(x_t, 0, net_out, predictor))


def test_the_x0_form_at_t0_is_x0_itself(scheduler):
    x_t, x0_pred = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(scheduler.step_predict_x0(x_t, 0, x0_pred), x0_pred, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("t", [3, torch.tensor(3), torch.tensor([3]), torch.tensor([0, 3, 9])])
def test_steps_and_add_noise_take_every_form_of_t(scheduler, predictor, t):
    x = torch.randn(3, 3, 4, 4)
    assert scheduler.step(x, t, x, predictor).shape == x.shape
    assert scheduler.add_noise(x, t)[0].shape == x.shape


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_losses_compare_the_network_with_the_right_target(lab, scheduler, predictor):
    module = lab.model.DiffusionModule(Echo(), scheduler, predictor)
    x0, noise = torch.rand(256, 3, 8, 8) * 2 - 1, torch.randn(256, 3, 8, 8)
    loss = module.get_loss(x0, noise=noise)
    x_t, t = module.network.x, module.network.t
    assert set(t.tolist()) == set(range(T))
    target = {"noise": noise.numpy(), "x0": x0.numpy(), "mean": posterior_mean(x0, x_t, t.numpy())}[predictor]
    assert loss.item() == pytest.approx(np.mean((x_t.double().numpy() - target) ** 2), rel=1e-4)


def test_class_labels_reach_the_network_and_the_unet_refuses_them(lab, scheduler):
    module = lab.model.DiffusionModule(Echo(), scheduler)
    label = torch.tensor([1, 2])
    module.get_loss(torch.zeros(2, 3, 8, 8), class_label=label)
    assert module.network.class_label is label
    with pytest.raises(ValueError, match="built without classes"):
        small_unet(lab)(torch.zeros(2, 3, 8, 8), 0, class_label=label)


def small_unet(lab, **changes):
    small = {"image_resolution": 8, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1}
    return lab.network.UNet(**{**small, **changes})


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_sampling_gives_images_or_the_whole_trajectory(lab, scheduler, predictor):
    module = lab.model.DiffusionModule(small_unet(lab), scheduler, predictor)
    assert module.sample(2).shape == (2, 3, 8, 8)
    trajectory = module.sample(2, return_traj=True)
    assert len(trajectory) == T + 1
    assert all(x.shape == (2, 3, 8, 8) for x in trajectory)


def test_a_checkpoint_comes_back_and_another_predictor_is_refused(lab, scheduler, tmp_path):
    module = lab.model.DiffusionModule(small_unet(lab), scheduler, "x0")
    module.save(tmp_path / "last.ckpt")
    other = lab.model.DiffusionModule(small_unet(lab), lab.scheduler.DDPMScheduler(T, 0.01, 0.3), "x0")
    other.load(tmp_path / "last.ckpt")
    pairs = zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(ValueError, match="the checkpoint's predictor is x0, this module's is noise"):
        lab.model.DiffusionModule(small_unet(lab), scheduler).load(tmp_path / "last.ckpt")


def test_the_unet_has_the_lab_s_size_and_cost(lab):
    """58.75 million parameters, and 89.4 GFLOP an image where a multiply-add counts as two operations."""
    with torch.device("meta"):
        network = lab.network.UNet()
        with FlopCounterMode(display=False) as counter:
            out = network(torch.empty(1, 3, 64, 64), timestep=torch.zeros(1, dtype=torch.long))
    assert out.shape == (1, 3, 64, 64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 58_753_283
    assert counter.get_total_flops() / 1e9 == pytest.approx(89.4, abs=0.05)


def test_the_unet_depends_on_t_and_takes_every_form_of_it(lab):
    torch.manual_seed(0)
    network = small_unet(lab, attn=[0, 1]).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.xavier_uniform_(layer.weight)  # fresh from __init__, some are near zero
    x = torch.randn(2, 3, 8, 8)
    for t in (torch.tensor(7), torch.tensor([7]), torch.tensor([7, 7])):
        torch.testing.assert_close(network(x, t), network(x, 7))
    assert (network(x, 0) - network(x, 900)).abs().max() > 1e-3


def test_attention_is_softmax_of_scaled_products(lab):
    q, k, v = torch.randn(3, 2, 5, 4)
    expected = torch.softmax(q @ k.transpose(1, 2) / 2, dim=-1) @ v
    torch.testing.assert_close(lab.module.attention(q, k, v), expected)


def test_settings_of_the_unet_that_cannot_be_are_refused(lab):
    with pytest.raises(ValueError, match="image_resolution 9 cannot be halved 1 times"):
        small_unet(lab, image_resolution=9)
    with pytest.raises(ValueError, match=r"attn \[2\] names a level outside 0..1"):
        small_unet(lab, attn=[2])


def test_the_device_is_the_tensors_own(lab):
    """On the meta device a tensor made on the CPU by mistake is an error."""
    with torch.device("meta"):
        scheduler = lab.scheduler.DDPMScheduler(T, 0.01, 0.3)
        x = torch.empty(2, 3, 8, 8)
        t = torch.zeros(2, dtype=torch.long)
    module = lab.model.DiffusionModule(Echo(), scheduler)
    assert scheduler.add_noise(x, t)[0].is_meta
    assert module.get_loss_noise(x).is_meta
    assert module.get_loss_x0(x).is_meta
