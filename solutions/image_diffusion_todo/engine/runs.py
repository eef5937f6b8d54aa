"""Folders of results: what a training run writes into its own, how it stops and goes on, and the folder of samples."""

import argparse
import hashlib
import json
import math
import signal
import sys
import time
from pathlib import Path

import torch
from model import DiffusionModule
from tqdm import tqdm

from engine import checkpoint, curves, fast
from engine.errors import LabError
from engine.images import save_image, strip, to_pixels

LOG_EVERY = 20  # steps between two readings of the losses


class Losses:
    """The losses of the steps since they were last taken."""

    def __init__(self, plan: fast.Plan):
        self.plan = plan
        self.kept: list = []

    def add(self, loss: torch.Tensor) -> None:
        """Keeps the loss on the device, as to read it would make the CPU wait; a textbook reads it at once."""
        self.kept.append(loss.item() if self.plan.plain else loss.detach())

    def take(self) -> list[float]:
        kept, self.kept = self.kept, []
        return kept if self.plan.plain or not kept else torch.stack(kept).float().tolist()


class Run:
    """A training run: its folder, its loop's steps, and the state that a checkpoint holds.

    Inside `with run:` Ctrl-C, and the SIGTERM of a cluster, end the steps after the one at hand; a second one ends them
    at once.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        contents: dict | None,
        module: DiffusionModule,
        optimizer: torch.optim.Optimizer,
        plan: fast.Plan,
        images: torch.Tensor,
        classes: list[str] | None,
    ):
        """contents: of the checkpoint to go on with, or None; images: what is trained on, uint8 (N, C, H, W)."""
        self.options, self.module, self.optimizer, self.plan = options, module, optimizer, plan
        self.classes = classes
        self.images_sha256 = hashlib.sha256(images.numpy()).hexdigest()
        self.step = contents["training"]["step"] if contents else 0  # how many are done
        self.stop_asked = False
        self.losses = Losses(plan)
        self.scaler = plan.scaler()
        self.average = fast.Average(module.network, options.ema)
        self.folder = options.resume or new_folder(options)
        if contents:
            self.go_on(contents)
        self.csv = self.folder / "loss.csv"
        curves.keep_before(self.csv, self.step)
        self.write_config()
        print(f"{self.folder}: {len(images)} images, {plan}", file=sys.stderr)

    def go_on(self, contents: dict) -> None:
        if contents["training"]["images_sha256"] != self.images_sha256:
            print("the training images are not those that this run began with", file=sys.stderr)
        self.module.load_state_dict(contents["state_dict"])
        self.optimizer.load_state_dict(contents["optimizer"])
        self.scaler.load_state_dict(contents.get("scaler", {}))
        self.average.restore(contents.get("ema", {}))
        torch.set_rng_state(contents["rng"]["cpu"])  # last, since building the model has drawn some
        if self.plan.device.type == "cuda" and "cuda" in contents["rng"]:
            torch.cuda.set_rng_state(contents["rng"]["cuda"], self.plan.device)

    def __enter__(self):
        self.handlers = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}
        self.bar = tqdm(total=self.options.train_num_steps, initial=self.step, unit="step", dynamic_ncols=True)
        return self

    def stop(self, number, frame) -> None:
        if self.stop_asked:
            raise KeyboardInterrupt
        self.stop_asked = True

    def __exit__(self, *exception) -> None:
        self.bar.close()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def steps(self):
        """The numbers of the steps to do, as long as nobody stops the run and its --minutes last."""
        end = time.monotonic() + 60 * self.options.minutes
        while self.step < self.options.train_num_steps and not self.stop_asked and time.monotonic() < end:
            yield self.step

    def log(self, loss: torch.Tensor) -> None:
        """Ends a step. Every so often its loss and those before it are written down."""
        self.losses.add(loss)
        self.step += 1
        if self.step % LOG_EVERY == 0:
            self.write_losses()

    def is_due(self, every: int) -> bool:
        """Whether a step that is a multiple of `every` has ended, and it is not the last."""
        return self.step % every == 0 and self.step < self.options.train_num_steps

    def write_losses(self) -> None:
        losses = self.losses.take()
        if not losses:
            return
        before = self.step - len(losses)
        curves.append(self.csv, before, losses)
        if not all(map(math.isfinite, losses)):
            raise LabError(
                f"the loss is not finite any more, between steps {before} and {self.step}. If this"
                " began early, look at your TODOs for a division by zero; later, try a smaller --lr. The"
                f" last checkpoint in {self.folder} is from before"
            )
        self.bar.update(len(losses))
        rate = (self.bar.n - self.bar.initial) * self.options.batch_size / max(1e-9, self.bar.format_dict["elapsed"])
        self.bar.set_postfix_str(f"loss {sum(losses) / len(losses):.4g}, {rate:.0f} images/s")

    def save(self) -> None:
        """last.ckpt, from which the run goes on to the same numbers."""
        self.write_losses()
        rng = {"cpu": torch.get_rng_state()}
        if self.plan.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.plan.device)
        options = as_json(self.options, "resume", "minutes", "device")
        training = {"step": self.step, "options": options, "images_sha256": self.images_sha256}
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "rng": rng}
        state |= {"ema": self.average.weights} if self.average.weights else {}
        checkpoint.save(self.folder / "last.ckpt", self.module, training, state)

    def save_samples(self, x_0: torch.Tensor, frames: list[torch.Tensor]) -> None:
        """step={n}-{k}.png, and trajectory.png, whose right-most column they are."""
        self.write_losses()
        for k, pixels in enumerate(to_pixels(x_0)):
            save_image(pixels, self.folder / f"step={self.step}-{k}.png")
        save_image(strip([to_pixels(frame) for frame in frames]), self.folder / "trajectory.png")
        self.draw_curve()

    def end(self) -> None:
        """After the last step. Raises KeyboardInterrupt where it was asked for."""
        self.draw_curve()
        if self.step < self.options.train_num_steps:
            go_on = f"To go on: python train.py --resume {self.folder}"
            print(f"stopped after step {self.step}. {go_on}", file=sys.stderr)
        if self.stop_asked:
            raise KeyboardInterrupt

    def draw_curve(self) -> None:
        curves.draw({self.options.predictor: curves.read(self.csv)}, self.folder / "loss.png", str(self.folder))

    def write_config(self) -> None:
        about = {
            **self.module.config,
            "options": as_json(self.options, "resume", "minutes"),
            **({"classes": self.classes} if self.classes else {}),
            "environment": {"torch": torch.__version__, "plan": str(self.plan)},
        }
        (self.folder / "config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def as_json(options: argparse.Namespace, *left_out: str) -> dict:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in left_out
    }


def new_folder(options: argparse.Namespace) -> Path:
    """results/predictor_{p}/beta_{m}/{time}/, which no other run has."""
    parent = options.results_dir / f"predictor_{options.predictor}" / f"beta_{options.mode}"
    while True:
        try:
            folder = parent / time.strftime("%m-%d-%H%M%S")
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            time.sleep(0.2)


def samples_to_draw(options: argparse.Namespace, with_ema: bool) -> list[int]:
    """The numbers of the images that sampling.py has still to draw into its folder, which is made.

    Raises LabError where what is in it came from another checkpoint or another seed.
    """
    folder = options.save_dir
    about = {
        "checkpoint": hashlib.sha256(options.ckpt_path.read_bytes()).hexdigest(),
        "seed": options.seed,
        "ema": with_ema,
        **({} if options.every is None else {"every": options.every}),
        **({"cfg_scale": options.cfg_scale, "class_label": options.class_label} if options.use_cfg else {}),
    }
    about_file = folder / "sampling.json"
    if about_file.is_file():
        there = json.loads(about_file.read_text(encoding="utf-8"))
        different = [name for name in {**there, **about} if there.get(name) != about.get(name)]
        if different:
            raise LabError(f"{folder} has images of another {' and '.join(different)}: choose another --save_dir")
    elif folder.is_dir() and any(folder.glob("*.png")):
        raise LabError(f"{folder} has images that sampling.py did not make: choose another --save_dir")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        about_file.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return [i for i in range(options.num_images) if not (folder / f"{i:05d}.png").is_file()]
