"""The sampling loop over a stand-in step, and over the student's own."""

from building import build_module, need_method
from loading import probe
from probing import need_tensor, recorded
from stand_ins import AffineStep


@probe("p_sample_loop")
def p_sample_loop(half, params, arrays):
    """The loop over a stand-in step: what the step was shown, in order, and what came out."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "p_sample_loop")
    step = AffineStep(params["gain"], arrays["offset"])
    module.p_sample = step
    half.seed(params["seed"])
    out = need_tensor(method(tuple(params["shape"])), "p_sample_loop")
    arrays_out = {"out": out.detach()}
    for k, shown in enumerate(step.shown):
        arrays_out[f"shown.{k}"] = shown
    return {"steps": step.steps, "requires_grad": out.requires_grad}, arrays_out


@probe("p_sample_loop_inline")
def p_sample_loop_inline(half, params, arrays):
    """The loop with the student's own step: what the network was shown, and whether a gradient was kept."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "p_sample_loop")
    half.seed(params["seed"])
    out = need_tensor(method(tuple(params["shape"])), "p_sample_loop")
    arrays_out = {"out": out.detach()}
    count = recorded(network.calls, "net", arrays_out, 3 * params["T"])
    return {"network_calls": count, "requires_grad": out.requires_grad}, arrays_out
