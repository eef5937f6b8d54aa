"""What the schedulers of diffusers do as the student has set them up."""

import torch
from building import need_function
from loading import probe
from schedulers import with_scheduler


@probe("diffusers_schedulers")
def diffusers_schedulers(half, params, arrays):
    """What the library's two schedulers do as the student has set them up, for each table of betas.

    Per table i: the configuration of both, the steps of the DDPM one at params["ts"], for (x, out) and for zeros under
    the same seed, and the grid and steps of the DDIM one for each number of steps.
    """
    function = need_function(half, "companions", "diffusers_schedulers")
    installed = "diffusers" in half.libraries
    data, out = {"installed": True, "configs": {}, "grids": {}}, {}
    for i in range(params["tables"]):
        try:
            pair = with_scheduler(half, params, arrays[f"betas.{i}"], function)
        except NotImplementedError:
            raise
        except Exception:
            if installed:
                raise
            pair = None
        if not installed:  # then whatever came back is none of its schedulers
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
