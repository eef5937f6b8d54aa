"""Single forward steps of the student's module."""

import torch
from building import build_module, need_method
from loading import probe
from probing import first_accepted, forms_of, need_tensor, plain_draw


@probe("forward_step")
def forward_step(half, params, arrays):
    """One forward step at each of params["ts"]: for x, for zeros under the same seed, for zeros under another."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "forward_step")
    x = arrays["x"]

    def one_step(x_prev, t, seed):
        half.seed(seed)  # here, as a rejected form may have drawn before it failed
        return need_tensor(method(x_prev, t), "forward_step").detach().clone()

    def run(x_prev, t, seed, order):
        forms = forms_of(t, len(x), order)
        return first_accepted([(name, lambda t=t: one_step(x_prev, t, seed)) for name, t in forms])

    out = {}
    _, form, rejected = run(x.clone(), params["ts"][0], params["seeds"][0], params["forms"])
    for t in params["ts"]:
        given = x.clone()
        out[f"of_x.{t}"], _, _ = run(given, t, params["seeds"][0], [form])
        out[f"x_after.{t}"] = given
        out[f"of_zeros.{t}"], _, _ = run(torch.zeros_like(x), t, params["seeds"][0], [form])
        out[f"again.{t}"], _, _ = run(torch.zeros_like(x), t, params["seeds"][1], [form])
    out["draw"] = plain_draw(half, params["seeds"][0], x)
    return {"form": form, "rejected": rejected}, out
