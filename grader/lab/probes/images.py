"""Probes for the image half's results: reading a checkpoint, drawing images with it, training a model anew.

Checkpoints are read with `weights_only=True`: one that needs unpickling is refused with the way to convert it.
"""

import hashlib
import inspect
import json
import os
import pickle
import time
import zipfile
from contextlib import nullcontext

import torch
from loading import Missing, probe
from probing import build_scheduler, need_tensor

STATE = {}  # the model at work, between two probes of one process

CONVERT = (
    "holds Python objects besides tensors, which are not loaded because they can run code. Convert it where "
    "it was made: torch.save({'config': json.dumps(module.config), 'state_dict': module.state_dict()}, PATH)"
)
CUT_SHORT = (
    "is not complete: its copy stopped early, or the disk was full. Copy it again, or go on with train.py --resume"
)


class Unusable(Exception):
    """A checkpoint that cannot be used; the text says why and what to do."""


def read_contents(path):
    """The contents of a checkpoint of the lab, JSON decoded. Raises Unusable."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
        config, training = json.loads(contents["config"]), json.loads(contents.get("training", "{}"))
        if not isinstance(contents["state_dict"], dict) or not isinstance(config, dict):
            raise TypeError("no state_dict")
        return {**contents, "config": config, "training": training}
    except pickle.UnpicklingError:
        raise Unusable(CONVERT if zipfile.is_zipfile(path) else CUT_SHORT) from None
    except (RuntimeError, EOFError, zipfile.BadZipFile, OSError):
        raise Unusable(CUT_SHORT) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unusable(
            "is no checkpoint of this lab: it needs the JSON text 'config' and a 'state_dict'. train.py "
            "writes one as last.ckpt"
        ) from None


def contents_or_problem(half, params):
    try:
        return read_contents(half.folder / params["path"]), ""
    except Unusable as error:
        return {}, str(error)


@probe("read_checkpoint")
def read_checkpoint(half, params, arrays):
    """What a checkpoint says of itself: config, steps, a digest of its weights, whether they are finite, its betas."""
    contents, problem = contents_or_problem(half, params)
    if problem:
        return {"problem": problem}, {}
    weights = {name: value for name, value in contents["state_dict"].items() if torch.is_tensor(value)}
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name.startswith("network."):
            digest.update(name.encode())
            digest.update(weights[name].detach().float().contiguous().numpy().tobytes())
    finite = all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())
    betas = weights.get("var_scheduler.betas", torch.empty(0))
    about = {
        "config": contents["config"],
        "step": contents["training"].get("step"),
        "finite": finite,
        "weights": digest.hexdigest(),
        "problem": "",
    }
    return about, {"betas": betas.float()}


def build_model(half, config):
    """The student's module around the student's network and schedule, on the best device there is."""
    network = half.need("network", "UNet")(**config["network"])
    about = config["scheduler"]
    scheduler = build_scheduler(
        half.need("scheduler", "DDPMScheduler"),
        {
            "T": about["num_train_timesteps"],
            **{name: about[name] for name in ("beta_1", "beta_T", "mode", "sigma_type") if name in about},
        },
    )
    cls = half.need("model", "DiffusionModule")
    if "predictor" not in inspect.signature(cls.__init__).parameters:
        raise Missing("DiffusionModule takes no predictor")
    return cls(network, scheduler, predictor=config["predictor"]).to(device())


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision():
    return torch.autocast("cuda", torch.bfloat16) if device().type == "cuda" else nullcontext()


def keep(half, module, config):
    """Hold the module for the probes that follow; all cores work for it, as nothing else runs meanwhile."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    STATE.update(module=module, config=config)


@probe("open_checkpoint")
def open_checkpoint(half, params, arrays):
    """Build the checkpoint's model from the student's code; averaged weights are taken where there are any."""
    contents, problem = contents_or_problem(half, params)
    if problem:
        return {"problem": problem}, {}
    module = build_model(half, contents["config"])
    module.load_state_dict(contents["state_dict"])
    if isinstance(contents.get("ema"), dict):
        module.network.load_state_dict(contents["ema"], strict=False)
    keep(half, module.eval().requires_grad_(False), contents["config"])
    return {"problem": "", "config": contents["config"]}, {}


@probe("open_weights")
def open_weights(half, params, arrays):
    """Build a model with the weights that came with the request."""
    module = build_model(half, params["config"])
    module.load_state_dict(dict(arrays))
    keep(half, module.eval().requires_grad_(False), params["config"])
    return {"problem": "", "config": params["config"]}, {}


@probe("draw_images")
def draw_images(half, params, arrays):
    """`count` images of the opened model through the student's `sample`, in [-1, 1], as uint8 (N, C, H, W)."""
    with torch.inference_mode(), mixed_precision():
        x = need_tensor(STATE["module"].sample(params["count"]), "DiffusionModule.sample")
    if x.ndim != 4 or len(x) != params["count"]:
        raise ValueError(f"DiffusionModule.sample({params['count']}) returned shape {tuple(x.shape)}")
    if not bool(x.isfinite().all()):
        raise ValueError("DiffusionModule.sample returned values that are not finite")
    return {}, {"images": ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()}


@probe("begin_training")
def begin_training(half, params, arrays):
    """A fresh model of the student's code, Adam, and the training images: uint8 (N, 3, H, W), a file of the half."""
    import numpy as np

    module = build_model(half, params["config"]).train()
    images = torch.from_numpy(np.load(half.folder / params["images"])).to(device())
    optimizer = torch.optim.Adam(module.network.parameters(), lr=params["lr"])
    average = {name: value.detach().clone() for name, value in module.network.state_dict().items()}
    keep(half, module, params["config"])
    STATE.update(images=images, optimizer=optimizer, average=average, step=0, how=params)
    return {"images": len(images)}, {}


@probe("go_on_training")
def go_on_training(half, params, arrays):
    """Train for `seconds`, or up to `steps`; the losses of these steps. Averages the weights with a growing memory."""
    module, optimizer, how = STATE["module"], STATE["optimizer"], STATE["how"]
    losses, end = [], time.monotonic() + params["seconds"]
    while time.monotonic() < end and STATE["step"] < params["steps"]:
        losses.append(train_step(module, optimizer, how))
    return {"step": STATE["step"]}, {"losses": torch.stack(losses).float() if losses else torch.empty(0)}


def train_step(module, optimizer, how):
    step = STATE["step"] = STATE["step"] + 1
    chosen = torch.randint(len(STATE["images"]), (how["batch"],), device=STATE["images"].device)
    x0 = STATE["images"][chosen].float() / 127.5 - 1
    for group in optimizer.param_groups:
        group["lr"] = how["lr"] * min(1.0, step / how["warmup"])
    with mixed_precision():
        loss = need_tensor(module.get_loss(x0), "get_loss")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    decay = min(how["ema"], step / (step + 10))
    with torch.no_grad():
        for name, value in module.network.state_dict().items():
            if value.is_floating_point():
                STATE["average"][name].lerp_(value, 1 - decay)
    return loss.detach()


@probe("trained_weights")
def trained_weights(half, params, arrays):
    """The model's tensors, the network's averaged."""
    state = dict(STATE["module"].state_dict())
    state |= {f"network.{name}": value for name, value in STATE["average"].items()}
    return {}, {name: value.detach().cpu() for name, value in state.items()}
