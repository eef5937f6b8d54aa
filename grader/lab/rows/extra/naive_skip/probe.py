"""The skipping loop over a stand-in step, or where it calls none, over the stand-in network."""

from building import build_module, need_method
from loading import probe
from probing import need_tensor, recorded
from stand_ins import AffineStep


@probe("naive_skip")
def naive_skip(half, params, arrays):
    """The skipping loop for each k of params["ks"]: over a stand-in step, or where none was called, over the network.

    Per k: `steps.k` as lists of (smallest, largest) t of a call, the points that went in as shown.k.i, and the result
    as out.k; in the second case `asked.k` counts the network's calls, net.k.i.x and net.k.i.t.
    """
    data, out = {"steps": {}, "asked": {}}, {}
    for k in params["ks"]:
        module, network = build_module(half, params, arrays)
        method = need_method(module, "naive_skip")
        step = AffineStep(params["gain"], arrays["offset"])
        module.p_sample = step
        half.seed(params["seed"])
        result = need_tensor(method(tuple(params["shape"]), k), "naive_skip")
        data["steps"][str(k)] = step.steps[: 4 * params["T"]]
        out[f"out.{k}"] = result.detach()
        out |= {f"shown.{k}.{i}": shown for i, shown in enumerate(step.shown)}
        if not step.steps:
            data["asked"][str(k)] = recorded(network.calls, f"net.{k}", out, 3 * params["T"])
    return data, out
