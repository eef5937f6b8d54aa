"""One reverse step of the 2D half over the stand-in network."""

import torch
from building import build_module, need_method
from loading import probe
from probing import forms_of, recorded
from reverse_steps import SeededStep


@probe("p_sample")
def p_sample(half, params, arrays):
    """One reverse step at one t: for x, for zeros under the same seed, for zeros under another."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "p_sample")
    x, seeds = arrays["x"], params["seeds"]
    forms = forms_of(params["t"], len(x), params["forms"])
    step = SeededStep(half, "p_sample", [(form, lambda xt, t=t: method(xt, t)) for form, t in forms])
    with torch.no_grad():
        step.settle(seeds[0], x)
        out = {"of_x": step(seeds[0], x)}
        shown = recorded(network.calls[-1:], "net", out, 1)
        out |= step.on_zeros(seeds, x)
    return {"form": step.label, "rejected": step.rejected, "network_calls": shown}, out
