"""One reverse step at one t, asked so that the judge can tell mean and noise apart; and the probe of Task 2's steps."""

import inspect

import torch
from building import build_ddpm_scheduler
from loading import Missing, probe
from probing import first_accepted, forms_of, need_tensor, plain_draw


class SeededStep:
    """A step of a submission that several calls may reach, each a function of tensors under a label."""

    def __init__(self, half, name, calls):
        self.half, self.name, self.calls = half, name, calls
        self.label, self.rejected = None, []

    def settle(self, seed, *tensors):
        """Keep the first call that is accepted. A generator of the student's may be made here, at the first call."""
        _, self.label, self.rejected = first_accepted(
            [(label, lambda call=call: self._under(seed, call, tensors)) for label, call in self.calls]
        )
        self.calls = [(label, call) for label, call in self.calls if label == self.label]

    def __call__(self, seed, *tensors):
        (_, call), *_ = self.calls
        return self._under(seed, call, tensors)

    def _under(self, seed, call, tensors):
        self.half.seed(seed)  # here, as a call that was rejected may have drawn before it failed
        return need_tensor(call(*(tensor.clone() for tensor in tensors)), self.name)

    def on_zeros(self, seeds, *tensors):
        """For zeros under both seeds, and what a plain randn_like draws under the first."""
        zeros = [torch.zeros_like(tensor) for tensor in tensors]
        draw = plain_draw(self.half, seeds[0], tensors[0])
        return {"of_zeros": self(seeds[0], *zeros), "again": self(seeds[1], *zeros), "draw": draw}


def step_entries(scheduler, predictor):
    """Ways to ask for a reverse step, as (label, function of x_t, t, net_out): the contract's method first.

    A scheduler of another edition has only `step`, with the predictor as a fourth argument or without one.
    """
    name = f"step_predict_{predictor}"
    entries = []
    if callable(getattr(scheduler, name, None)):
        entries.append((name, getattr(scheduler, name)))
    if callable(getattr(scheduler, "step", None)):
        takes_predictor = "predictor" in inspect.signature(scheduler.step).parameters
        if takes_predictor:
            entries.append(("step", lambda x, t, out: scheduler.step(x, t, out, predictor=predictor)))
        elif predictor == "noise":
            entries.append(("step", scheduler.step))
    if not entries:
        raise Missing(f"scheduler.py: DDPMScheduler has no method {name}")
    return entries


@probe("step")
def image_step(half, params, arrays):
    """One reverse step at one t: for (x_t, out), for zeros under the same seed, for zeros under another."""
    scheduler = build_ddpm_scheduler(half, params)
    x, net_out, seeds = arrays["x"], arrays["out"], params["seeds"]
    calls = [
        (f"{entry}|{form}", lambda xt, out, function=function, t=t: function(xt, t, out))
        for entry, function in step_entries(scheduler, params["predictor"])
        for form, t in forms_of(params["t"], len(x), params["forms"])
    ]
    step = SeededStep(half, "the reverse step", calls)
    with torch.no_grad():
        step.settle(seeds[0], x, net_out)
        tensors = {"of_x": step(seeds[0], x, net_out)} | step.on_zeros(seeds, x, net_out)
    entry, form = step.label.split("|")
    return {"entry": entry, "form": form, "rejected": step.rejected}, tensors
