"""Probes of the 2D half: they call the student's functions and return what came out, nothing more."""

from building import build_module, need_method
from loading import probe
from probing import need_tensor, recorded
from stand_ins import AffineNoising


@probe("q_sample")
def q_sample(half, params, arrays):
    """x_t for x0, t and, where given, noise; with the inputs as they are afterwards."""
    module, _ = build_module(half, params, arrays)
    method = need_method(module, "q_sample")
    half.seed(params["seed"])
    x0, t, noise = (arrays[k].clone() if k in arrays else None for k in ("x0", "t", "noise"))
    xt = need_tensor(method(x0, t) if noise is None else method(x0, t, noise), "q_sample")
    after = {"x0_after": x0, "t_after": t} | ({} if noise is None else {"noise_after": noise})
    return {}, {"xt": xt.detach().clone(), **after}


@probe("compute_loss")
def compute_loss(half, params, arrays):
    """The loss on stand-ins for network and q_sample, with everything that they were shown; one trial a seed."""
    module, network = build_module(half, params, arrays)
    method = need_method(module, "compute_loss")
    return loss_trials(
        half,
        params,
        arrays,
        module,
        network,
        lambda x0: method(x0),
        AffineNoising(arrays["signal"], arrays["spread"], returns_noise=False),
        lambda noising: setattr(module, "q_sample", noising),
    )


def loss_trials(half, params, arrays, module, network, call, noising, install):
    """Run `call` once a trial on x0.i; shared by the losses of both halves."""
    install(noising)
    data, out = {"trials": []}, {}
    for i, seed in enumerate(params["seeds"]):
        network.calls.clear()
        noising.calls.clear()
        network.zero_grad()
        half.seed(seed)
        x0 = arrays[f"x0.{i}"].clone()
        loss = need_tensor(call(x0), "the loss")
        trial = {"shape": list(loss.shape), "requires_grad": loss.requires_grad}
        if loss.requires_grad and loss.numel() == 1:
            loss.backward()
            if network.weight.grad is not None:
                out[f"{i}.grad"] = network.weight.grad.clone()
        out[f"{i}.loss"] = loss.detach()
        trial["network_calls"] = recorded(network.calls, f"{i}.net", out, 1)
        trial["noising_calls"] = recorded(noising.calls, f"{i}.noising", out, 1)
        trial["noise_given"] = bool(noising.calls and noising.calls[0]["given"])
        data["trials"].append(trial)
    return data, out
