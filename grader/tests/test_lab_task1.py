"""The solved lab, Task 1: shapes, forms of t, closed forms in float64, data sets and checkpoints."""

import math

import numpy as np
import pytest
import torch

from grader.tests.lab import SOLUTIONS, load_half

T = 10
FORMS_OF_T = [3, torch.tensor(3), torch.tensor([3]), torch.full((6,), 3)]


@pytest.fixture(scope="module")
def lab():
    return load_half("2d_plot_diffusion_todo")


@pytest.fixture(scope="module")
def tables():
    betas = np.linspace(0.01, 0.3, T)
    bars = np.cumprod(1 - betas)
    return betas, bars, np.concatenate([[1.0], bars[:-1]])


@pytest.fixture
def ddpm(lab):
    torch.manual_seed(0)
    network = lab.network.SimpleNet(2, 2, [16, 16], T)
    return lab.ddpm.DiffusionModule(network, lab.ddpm.BaseScheduler(T, 0.01, 0.3))


@pytest.mark.parametrize("dim_hids", [[], [8], [128, 128, 128], [16, 4]])
@pytest.mark.parametrize("t", [torch.tensor(5), torch.tensor([5]), torch.arange(7)])
def test_simplenet_takes_any_width_and_form_of_t(lab, dim_hids, t):
    network = lab.network.SimpleNet(2, 3, dim_hids, T)
    assert network(torch.zeros(7, 2), t).shape == (7, 3)


def test_simplenet_depends_on_t_bends_in_x_and_trains_every_parameter(lab):
    torch.manual_seed(0)
    network = lab.network.SimpleNet(2, 2, [32, 32], T)
    x = torch.randn(5, 2)
    assert (network(x, torch.tensor(0)) - network(x, torch.tensor(T - 1))).abs().max() > 1e-3
    middle = network((x[:1] + x[1:2]) / 2, torch.tensor(0))
    ends = network(x[:2], torch.tensor(0)).mean(dim=0, keepdim=True)
    assert (middle - ends).abs().max() > 1e-4
    network(x, torch.arange(5)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("mode", ["linear", "quad"])
def test_schedules_are_float64_products_cast_to_float32(lab, mode):
    scheduler = lab.ddpm.BaseScheduler(1000, mode=mode)
    ends = (1e-4, 0.02) if mode == "linear" else (1e-2, math.sqrt(0.02))
    betas = np.linspace(*ends, 1000) ** (1 if mode == "linear" else 2)
    np.testing.assert_allclose(scheduler.betas, betas, rtol=1e-6)
    np.testing.assert_allclose(scheduler.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-6)
    assert scheduler.betas.dtype == scheduler.alphas.dtype == scheduler.alphas_cumprod.dtype == torch.float32


def test_an_unknown_mode_is_an_error_that_lists_the_known_ones(lab):
    with pytest.raises(ValueError, match=r"unknown mode 'cosin' .* known are linear, quad"):
        lab.ddpm.BaseScheduler(10, mode="cosin")


def test_q_sample_is_the_closed_form_at_mixed_t(ddpm, tables):
    _, bars, _ = tables
    x0, noise, t = torch.randn(T, 2), torch.randn(T, 2), torch.arange(T)
    before = x0.clone()
    signal, spread = np.sqrt(bars)[:, None], np.sqrt(1 - bars)[:, None]
    expected = signal * x0.double().numpy() + spread * noise.double().numpy()
    np.testing.assert_allclose(ddpm.q_sample(x0, t, noise=noise), expected, atol=1e-6)
    assert torch.equal(x0, before)
    first, *others = (ddpm.q_sample(x0[:6], form, noise[:6]) for form in FORMS_OF_T)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("t", [0, 1, 5, T - 1])
def test_p_sample_has_the_mean_of_eq_11_and_the_posterior_variance(ddpm, tables, t):
    betas, bars, before = tables
    point = torch.tensor([[0.7, -1.2]])
    eps = ddpm.network(point, torch.tensor([t])).detach().double().numpy()
    mean = (point.double().numpy() - betas[t] / np.sqrt(1 - bars[t]) * eps) / np.sqrt(1 - betas[t])
    sigma = math.sqrt((1 - before[t]) / (1 - bars[t]) * betas[t])
    steps = ddpm.p_sample(point.expand(20_000, 2), t).double().numpy()
    np.testing.assert_allclose(steps.mean(axis=0, keepdims=True), mean, atol=max(1e-5, 5 * sigma / 141))
    np.testing.assert_allclose(steps.std(axis=0), sigma, rtol=0.03, atol=1e-6)


@pytest.mark.parametrize("t", FORMS_OF_T)
def test_p_sample_takes_every_form_of_t(ddpm, t):
    assert ddpm.p_sample(torch.randn(6, 2), t).shape == (6, 2)


def test_p_sample_loop_takes_each_step_once_downwards_and_tracks_no_gradient(ddpm, monkeypatch):
    visited = []
    step = ddpm.p_sample
    monkeypatch.setattr(ddpm, "p_sample", lambda xt, t: (visited.append(int(t)), step(xt, t))[1])
    result = ddpm.p_sample_loop((5, 2))
    assert visited == list(range(T - 1, -1, -1))
    assert result.shape == (5, 2)
    assert not result.requires_grad


def test_compute_loss_starts_near_one_and_has_a_gradient(ddpm):
    loss = ddpm.compute_loss(torch.randn(4096, 2))
    assert loss.shape == ()
    assert 0.7 < loss.item() < 1.5  # the noise has variance 1 and a fresh network says almost nothing
    loss.backward()
    assert all(parameter.grad is not None for parameter in ddpm.network.parameters())


def test_a_checkpoint_comes_back_and_another_schedule_is_refused(ddpm, lab, tmp_path):
    ddpm.save(tmp_path / "last.ckpt")
    torch.load(tmp_path / "last.ckpt", weights_only=True)
    network = lab.network.SimpleNet(2, 2, [16, 16], T)
    other = lab.ddpm.DiffusionModule(network, lab.ddpm.BaseScheduler(T, 0.01, 0.3))
    other.load(tmp_path / "last.ckpt")
    pairs = zip(ddpm.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    quad = lab.ddpm.DiffusionModule(other.network, lab.ddpm.BaseScheduler(T, 0.01, 0.3, mode="quad"))
    with pytest.raises(ValueError, match=r"the checkpoint has the schedule .*linear.*, not .*quad"):
        quad.load(tmp_path / "last.ckpt")


def test_the_device_is_the_tensors_own(lab):
    """On the meta device a tensor made on the CPU by mistake is an error."""
    with torch.device("meta"):
        ddpm = lab.ddpm.DiffusionModule(lab.network.SimpleNet(2, 2, [8], T), lab.ddpm.BaseScheduler(T))
    x = torch.empty(4, 2, device="meta")
    t = torch.zeros(4, dtype=torch.long, device="meta")
    assert ddpm.q_sample(x, t).is_meta
    assert ddpm.p_sample(x, t).is_meta
    assert ddpm.p_sample_loop((4, 2)).is_meta
    assert ddpm.compute_loss(x).is_meta


def test_ddpm_does_not_need_network():
    """A syntax error in one of the two files leaves the other gradable."""
    source = (SOLUTIONS / "2d_plot_diffusion_todo" / "ddpm.py").read_text(encoding="utf-8")
    assert "import network" not in source
    assert "from network" not in source


@pytest.mark.parametrize("name", ["swiss_roll", "moons", "gaussians", "circle", "s_curve", "checkerboard"])
def test_datasets_are_seeded_centred_and_of_a_sensible_scale(lab, name):
    points = lab.dataset.make_points(name, 4000, seed=3)
    assert (points.shape, points.dtype) == ((4000, 2), torch.float32)
    assert torch.equal(points, lab.dataset.make_points(name, 4000, seed=3))
    assert not torch.equal(points, lab.dataset.make_points(name, 4000, seed=4))
    assert points.mean(dim=0).abs().max() < 0.15
    assert 0.5 < points.std() < 2.5


def test_datasets_take_the_hyphen_and_refuse_unknown_names(lab):
    assert lab.dataset.make_points("s-curve", 10).shape == (10, 2)
    with pytest.raises(ValueError, match="unknown dataset 'roll'; known are swiss_roll, moons"):
        lab.dataset.make_points("roll", 10)


def test_batches_are_seeded_and_come_from_the_points(lab):
    points = torch.arange(20.0).reshape(10, 2)
    first, again = (next(lab.dataset.BatchStream(points, 64, seed=1)) for _ in range(2))
    assert torch.equal(first, again)
    assert {tuple(row) for row in first.tolist()} <= {tuple(row) for row in points.tolist()}


def test_chamfer_sums_squared_nearest_distances_both_ways(lab):
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    reference = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]])
    assert lab.chamfer.chamfer_distance(points, reference) == (1 + 0) + (1 + 4 + 0)
    assert lab.chamfer.chamfer_distance(points, points) == 0
