"""Checkpoints: tensors and JSON text in one file, written atomically, read without running any code in it.

config       JSON: network, scheduler and predictor, enough to build the model again
state_dict   the model's weights and tables, which DiffusionModule.load() reads too
ema          averaged weights of the network, where train.py ran with --ema
training     JSON: the step reached, and the options of the run
optimizer, scaler, rng    the rest of what a run needs to go on exactly where it stopped
"""

import json
import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from model import DiffusionModule
from network import UNet
from scheduler import DDPMScheduler

from engine.errors import LabError
from engine.images import write_atomically


def save(path: Path, module: DiffusionModule, training: dict, tensors: dict) -> None:
    """Writes the file whole or leaves the one before it. `training` is for JSON, `tensors` the rest."""
    contents = {
        "config": json.dumps(module.config),
        "state_dict": module.state_dict(),
        "training": json.dumps(training),
        **tensors,
    }

    def write(file: BinaryIO) -> None:
        try:
            torch.save(contents, file)
        except RuntimeError as error:  # torch's own words for a full disk say nothing of a disk
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    write_atomically(path, write)


def read(path: Path, device: torch.device | str = "cpu") -> dict:
    """The file's contents, the JSON decoded. Raises LabError with what to do."""
    if not path.is_file():
        others = sorted(path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
        found = f"; {others[0]} is there" if others else ""
        raise LabError(f"{path} is no file{found}. A run leaves last.ckpt in results/predictor_*/beta_*/*/")
    try:
        contents = torch.load(path, map_location=device, weights_only=True)
        config = json.loads(contents["config"])
        return {**contents, "config": config, "training": json.loads(contents.get("training", "{}"))}
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise LabError(truncated(path)) from error
        raise LabError(
            f"{path} holds Python objects besides tensors, which are not loaded because they can run code."
            " Save model.state_dict() in the program that made it, or use DiffusionModule.save()"
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise LabError(truncated(path)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(f"{path} is no checkpoint of this lab: it lacks the JSON text 'config'") from error


def truncated(path: Path) -> str:
    size = path.stat().st_size / 1e6
    return (
        f"{path} ({size:.1f} MB) is not complete: its copy or download stopped early, or the disk was full."
        " Copy it again, or train again; train.py itself never leaves half a checkpoint"
    )


def build(config: dict) -> DiffusionModule:
    """The model of a checkpoint's config, with fresh weights."""
    try:
        network = UNet(**config["network"])
        return DiffusionModule(network, DDPMScheduler(**config["scheduler"]), predictor=config["predictor"])
    except (KeyError, TypeError) as error:
        raise LabError(f"the checkpoint's config does not fit this lab's UNet and DDPMScheduler: {error}") from error


def load_for_sampling(path: Path, device: torch.device, use_ema: bool = True) -> tuple[DiffusionModule, dict]:
    """The trained model in evaluation mode, with averaged weights if there are any, and the file's contents."""
    contents = read(path, device)
    module = build(contents["config"]).to(device)
    try:
        module.load_state_dict(contents["state_dict"])
        if use_ema and "ema" in contents:
            module.network.load_state_dict(contents["ema"], strict=False)
    except RuntimeError as error:
        raise LabError(f"{path} does not fit the network in network.py: {str(error).splitlines()[0]}") from error
    return module.eval().requires_grad_(False), contents
