"""The probe of compute_loss."""

from building import build_module, need_method
from loading import probe
from loss_trials import run_trials
from stand_ins import AffineNoising


@probe("compute_loss")
def compute_loss(half, params, arrays):
    """The loss on stand-ins for network and q_sample, with everything that they were shown; one trial a seed."""
    module, network = build_module(half, params, arrays)
    loss_of = need_method(module, "compute_loss")
    module.q_sample = AffineNoising(arrays["signal"], arrays["spread"], returns_noise=False)
    return run_trials(half, params, arrays, network, module.q_sample, loss_of)
