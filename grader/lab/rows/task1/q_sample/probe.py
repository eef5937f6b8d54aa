"""The probe of q_sample."""

from building import build_module, need_method
from loading import probe
from probing import need_tensor


@probe("q_sample")
def q_sample(half, params, arrays):
    """x_t for x0, t and, where given, noise; with the inputs as they are afterwards."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "q_sample")
    half.seed(params["seed"])
    given = {name: arrays[name].clone() for name in ("x0", "t", "noise") if name in arrays}
    xt = need_tensor(method(*given.values()), "q_sample").detach().clone()
    return {}, {"xt": xt} | {f"{name}_after": value for name, value in given.items()}
