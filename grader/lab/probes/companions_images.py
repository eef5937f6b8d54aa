"""Probes of the image half's companion exercises: the fast sampler, class labels, diffusers' schedulers."""

import importlib.util

import torch
from building import build_ddpm_scheduler
from loading import Missing, probe
from probing import need_tensor
from stand_ins import GivenScheduler, as_steps
from torch import nn

INSTALLED = importlib.util.find_spec("diffusers") is not None  # asked before a placeholder can stand in for it


class TableScheduler(GivenScheduler):
    """The lab's scheduler with any table of betas."""

    def __init__(self, betas):
        super().__init__(len(betas), 0.0, 0.0)
        self.config = {"num_train_timesteps": len(betas), "sigma_type": "small"}
        betas = betas.double()
        self.betas, self.alphas, self.alphas_cumprod = (
            table.float() for table in (betas, 1 - betas, (1 - betas).cumprod(0))
        )

    @property
    def device(self):
        return self.betas.device


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


class LabelNetwork(nn.Module):
    """out = gain x + slope t + table[label] along the channels; without labels that of null."""

    def __init__(self, arrays, null):
        super().__init__()
        self.gain, self.slope, self.table = arrays["gain"], arrays["slope"], arrays["table"]
        self.null_label = self.num_classes = null

    def forward(self, x, timestep=None, class_label=None, t=None, **_):
        steps = as_steps(timestep if t is None else t, x.shape[0])
        labels = torch.full((len(x),), self.null_label) if class_label is None else torch.as_tensor(class_label)
        rows = self.table[labels.long().reshape(-1).expand(len(x))]  # (B, C)
        drift = torch.outer(steps.float(), self.slope) + rows
        return self.gain * x + drift[:, :, None, None]


def need_function(half, name):
    function = half.need("companions", name)
    if not callable(function):
        raise Missing(f"companions.py has no function {name}")
    return function


def with_scheduler(half, params, betas, call):
    """call(scheduler) on a stand-in; on the student's own where the code uses something that only that one has."""
    try:
        return call(TableScheduler(betas))
    except AttributeError:
        return call(build_ddpm_scheduler(half, params))


@probe("fast_sample")
def fast_sample(half, params, arrays):
    """The sampler for each k of params["ks"], under two global seeds, and for a network that predicts x_0.

    Per k: steps.k as (smallest, largest) t of a call, what the network was shown as shown.k.i, results out.k and
    again.k; x0.k, with its steps, for the predictor "x0".
    """
    function = need_function(half, "fast_sample")
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


@probe("add_class")
def add_class(half, params, arrays):
    """The embedding of time and class with labels, and without."""
    function = need_function(half, "add_class")
    null = params["null"]
    out = {}
    for name, labels in (("labels", arrays["labels"]), ("none", None)):
        table = nn.Embedding.from_pretrained(arrays["table"].clone())
        time = arrays["time"].clone()
        out[f"out.{name}"] = need_tensor(function(time, labels, table, null), "add_class").detach()
        out[f"after.{name}"] = time
    return {}, out


@probe("drop_labels")
def drop_labels(half, params, arrays):
    """Labels (count, B), drawn a batch at a time from one generator, for each case {p, null, count} and seeds."""
    function = need_function(half, "drop_labels")
    batches, out = arrays["labels"], {}

    def run(case, global_seed, own_seed):
        half.seed(global_seed)
        generator = None if own_seed is None else torch.Generator().manual_seed(own_seed)
        rows = [
            need_tensor(function(labels.clone(), case["p"], case["null"], generator), "drop_labels")
            for labels in batches[: case["count"]]
        ]
        return torch.stack([row.detach().clone() for row in rows])

    first, second = params["seeds"]
    for i, case in enumerate(params["cases"]):
        out[f"out.{i}"] = run(case, first, first)
    case = params["cases"][0] | {"count": 20}
    out["once"], out["other_global"], out["other_own"] = (
        run(case, first, first),
        run(case, second, first),
        run(case, first, second),
    )
    out["global"], out["global_again"] = run(case, first, None), run(case, second, None)
    given = batches[0].clone()
    half.seed(first)
    function(given, 0.5, params["cases"][0]["null"], None)
    out["after"] = given
    return {"dtype": str(out["out.0"].dtype)}, out


@probe("guided_noise")
def guided_noise(half, params, arrays):
    """The guided prediction for each scale, and the inputs as they are afterwards."""
    function = need_function(half, "guided_noise")
    network, out = LabelNetwork(arrays, params["null"]), {}
    for i, scale in enumerate(params["scales"]):
        x, t, labels = (arrays[name].clone() for name in ("x", "t", "labels"))
        out[f"out.{i}"] = need_tensor(function(network, x, t, labels, scale, params["null"]), "guided_noise").detach()
        out |= {f"x_after.{i}": x, f"labels_after.{i}": labels}
    return {}, out


@probe("diffusers_schedulers")
def diffusers_schedulers(half, params, arrays):
    """What the library's two schedulers do as the student has set them up, for each table of betas.

    Per table i: the configuration of both, the steps of the DDPM one at params["ts"], for (x, out) and for zeros under
    the same seed, and the grid and steps of the DDIM one for each number of steps.
    """
    function = need_function(half, "diffusers_schedulers")
    data, out = {"installed": True, "configs": {}, "grids": {}}, {}
    for i in range(params["tables"]):
        try:
            pair = with_scheduler(half, params, arrays[f"betas.{i}"], function)
        except NotImplementedError:
            raise
        except Exception:
            if INSTALLED:
                raise
            pair = None
        if not INSTALLED:  # then whatever came back is none of its schedulers
            return {"installed": False}, {}
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"diffusers_schedulers returned {type(pair).__name__} where a pair is expected")
        data["configs"][str(i)] = [settings_of(scheduler) for scheduler in pair]
        kinds = [(about["class"], about.get("num_train_timesteps")) for about in data["configs"][str(i)]]
        if kinds == [("DDPMScheduler", params["T"]), ("DDIMScheduler", params["T"])]:
            data["grids"][str(i)] = steps_of(pair, i, params, arrays, out)
    return data, out


def settings_of(scheduler):
    """Class and configuration, without the tables."""
    config = dict(getattr(scheduler, "config", {}))
    about = {name: value for name, value in config.items() if isinstance(value, (bool, int, float, str))}
    return {"class": type(scheduler).__name__, "own_betas": config.get("trained_betas") is not None, **about}


def steps_of(pair, i, params, arrays, out):
    """Steps of both schedulers into `out`; the grids {number of steps: timesteps} of the second."""
    ddpm, ddim = pair
    x, net_out = arrays["x"], arrays["out"]
    ddpm.set_timesteps(params["T"])
    for t in params["ts"]:
        for name, sample, given in (("of_x", x, net_out), ("of_zeros", torch.zeros_like(x), torch.zeros_like(x))):
            generator = torch.Generator().manual_seed(params["seed"])
            out[f"ddpm.{i}.{t}.{name}"] = ddpm.step(given, t, sample, generator=generator).prev_sample
    out["draw"] = torch.randn(x.shape, generator=torch.Generator().manual_seed(params["seed"]))
    grids = {}
    for count in params["counts"]:
        ddim.set_timesteps(count)
        grids[str(count)] = [int(t) for t in ddim.timesteps]
        for place, t in enumerate(grids[str(count)]):
            if 0 <= t < params["T"]:
                out[f"ddim.{i}.{count}.{place}"] = ddim.step(net_out, t, x).prev_sample
    return grids
