"""The fast sampler over a stand-in network."""

from building import need_function
from loading import probe
from probing import need_tensor
from schedulers import with_scheduler
from stand_ins import as_steps
from torch import nn


class TableNetwork(nn.Module):
    """out = gain[t] x + shift[t] pattern, with tables (T,) and a pattern (C, H, W) that come with the request."""

    def __init__(self, gain, shift, pattern, limit):
        super().__init__()
        self.gain, self.shift, self.pattern, self.limit = gain, shift, pattern, limit
        self.shown, self.steps = [], []

    def forward(self, x, timestep=None, class_label=None, t=None, **_):
        steps = as_steps(timestep if t is None else t, x.shape[0])
        self.steps.append((float(steps.min()), float(steps.max())))
        if len(self.shown) < self.limit:
            self.shown.append(x.detach().clone())
        index = steps.long().clamp(0, len(self.gain) - 1)
        column = (-1, *[1] * (x.ndim - 1))
        return self.gain[index].reshape(column) * x + self.shift[index].reshape(column) * self.pattern


@probe("fast_sample")
def fast_sample(half, params, arrays):
    """The sampler for each k of params["ks"], under two global seeds, and for a network that predicts x_0.

    Per k: steps.k as (smallest, largest) t of a call, what the network was shown as shown.k.i, results out.k and
    again.k; x0.k, with its steps, for the predictor "x0".
    """
    function = need_function(half, "companions", "fast_sample")
    data, out = {"steps": {}, "x0_steps": {}}, {}

    def run(k, seed, kind, *predictor):
        network = TableNetwork(
            *(arrays[f"{name}.{kind}"] for name in ("gain", "shift")), arrays["pattern"], 3 * params["T"]
        )
        given = arrays["x"].clone()

        def call(scheduler):
            network.shown, network.steps = [], []
            half.seed(seed)
            return need_tensor(function(network, scheduler, given, k, *predictor), "fast_sample").detach().clone()

        return with_scheduler(half, params, arrays["betas"], call), network, given

    for k in params["ks"]:
        out[f"out.{k}"], network, out[f"after.{k}"] = run(k, params["seeds"][0], "noise")
        data["steps"][str(k)] = network.steps[: 4 * params["T"]]
        out |= {f"shown.{k}.{i}": shown for i, shown in enumerate(network.shown)}
        out[f"again.{k}"], _, _ = run(k, params["seeds"][1], "noise")
        try:
            out[f"x0.{k}"], network, _ = run(k, params["seeds"][0], "x0", "x0")
            data["x0_steps"][str(k)] = network.steps[: 4 * params["T"]]
        except Exception as error:  # only one of several predictors
            data["x0_problem"] = f"{type(error).__name__}: {error}"[:300]
    return data, out
