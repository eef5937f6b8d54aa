"""The probe of add_noise."""

import torch
from building import build_ddpm_scheduler, need_method
from loading import probe
from probing import need_tensor


@probe("add_noise")
def add_noise(half, params, arrays):
    """x_t and the noise returned for x0, t and, where given, noise; with the inputs as they are afterwards."""
    method = need_method(build_ddpm_scheduler(half, params), "add_noise", "scheduler.py")
    half.seed(params["seed"])
    given = {name: arrays[name].clone() for name in ("x0", "t", "noise") if name in arrays}
    value = method(*given.values())
    xt, eps = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, None)
    out = {"xt": need_tensor(xt, "add_noise").detach().clone()}
    if torch.is_tensor(eps):
        out["eps"] = eps.detach().clone()
    return {}, out | {f"{name}_after": value for name, value in given.items()}
