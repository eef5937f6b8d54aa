"""Trains a diffusion model on images.

    python train.py --mode linear --predictor noise            the full model: a GPU, AFHQ
    python train.py --small --train_num_steps 3000             a model for a laptop's CPU, 32x32
    python train.py --dataset mnist --image_size 28 --small --ch 32 --use_cfg     digits, and their classes
    python train.py --resume results/predictor_noise/beta_linear/09-05-201510

Writes results/predictor_{p}/beta_{m}/{time}/: config.json, last.ckpt, loss.csv, loss.png, step={n}-{k}.png and
trajectory.png (rows are images, from noise on the left to the sample on the right). Ctrl-C saves before it stops.
"""

import argparse
import hashlib
import json
import math
import signal
import sys
import time
from pathlib import Path

import checkpoint
import curves
import fast
import plain
import torch
from dataset import GREY, add_data_options, default_folder, folder_files, training_images, training_labels
from errors import LabError, device_named, run_script
from images import save_image, strip, to_pixels
from model import PREDICTORS, DiffusionModule
from network import UNet
from sampling import frame_times
from scheduler import DDPMScheduler
from tqdm import tqdm

MODES = ("linear", "quad", "cosine")
FULL = {
    "image_size": 64,
    "ch": 128,
    "ch_mult": [1, 2, 2, 2],
    "attn": [1],
    "num_res_blocks": 4,
    "dropout": 0.1,
    "sample_every": 10_000,
    "checkpoint_every": 5_000,
}
SMALL = {
    "image_size": 32,
    "ch": 64,
    "ch_mult": [1, 2, 2],
    "attn": [2],
    "num_res_blocks": 1,
    "dropout": 0.0,
    "sample_every": 2_500,
    "checkpoint_every": 500,
}
LOG_EVERY = 20  # steps between two readings of the losses
MAY_CHANGE = {
    "resume",
    "train_num_steps",
    "sample_every",
    "checkpoint_every",
    "num_samples",
    "device",
    "data_dir",
    "results_dir",
    "minutes",
    "workers",
}  # the options that --resume takes anew


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=MODES, default="linear", help="beta schedule (default: linear)")
    parser.add_argument("--predictor", choices=PREDICTORS, default="noise", help="what the network predicts")
    add_data_options(parser)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-4, help="of Adam (default: 2e-4)")
    parser.add_argument("--warmup_steps", type=int, default=200)
    parser.add_argument("--train_num_steps", type=int, default=100_000)
    parser.add_argument("--num_diffusion_train_timesteps", type=int, default=1000, metavar="T")
    parser.add_argument("--beta_1", type=float, help="default: 1e-4 x 1000/T")
    parser.add_argument("--beta_T", type=float, help="default: 0.02 x 1000/T, so that x_T is noise for a smaller T too")
    parser.add_argument(
        "--ema",
        type=float,
        nargs="?",
        const=0.9999,
        default=0.0,
        metavar="DECAY",
        help="average the weights, and sample with the average (0.9999 if no number follows)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="a U-Net of 4.5 million parameters for 32x32")
    for name, kind in (("image_size", int), ("ch", int), ("num_res_blocks", int), ("dropout", float)):
        parser.add_argument(f"--{name}", type=kind, help=f"default: {FULL[name]}, with --small {SMALL[name]}")
    for name in ("ch_mult", "attn"):
        parser.add_argument(f"--{name}", type=int, nargs="+", help=f"default: {FULL[name]}, --small {SMALL[name]}")
    for name in ("sample_every", "checkpoint_every"):
        parser.add_argument(f"--{name}", type=int, help=f"steps (default: {FULL[name]}, with --small {SMALL[name]})")
    parser.add_argument("--image_channels", type=int, choices=(1, 3), help="default: 1 for the grey data sets, else 3")
    parser.add_argument("--use_cfg", action="store_true", help="train with class labels: see companions.py")
    parser.add_argument("--cfg_dropout", type=float, default=0.1, metavar="P", help="of a label (default: 0.1)")
    parser.add_argument("--num_samples", type=int, default=8, help="images each time (default: 8)")
    parser.add_argument("--results_dir", type=Path, default=Path("results"))
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop, and save, after so many minutes")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    parser.add_argument("--plain", action="store_true", help="the slow, straightforward loop: see plain.py")
    parser.add_argument("--workers", type=int, help="processes that decode images for --plain")
    return parser


def read_options(argv: list[str] | None) -> tuple[argparse.Namespace, dict | None]:
    """The options, and the contents of the checkpoint to go on with, None for a new run."""
    parser = make_parser()
    options = parser.parse_args(argv)
    contents = None
    if options.resume:
        contents = checkpoint.read(options.resume / "last.ckpt" if options.resume.is_dir() else options.resume)
        options.resume = options.resume if options.resume.is_dir() else options.resume.parent
        saved = contents["training"].get("options")
        if saved is None or "optimizer" not in contents:
            raise LabError(f"{options.resume / 'last.ckpt'} holds a model, and not the state of a training run")
        parser.set_defaults(**{"image_channels": 3, **saved})  # an older run has no image_channels
        resume, options = options.resume, parser.parse_args(argv)
        options.resume = resume
        for name in saved.keys() - MAY_CHANGE:
            if getattr(options, name) != saved[name]:
                raise LabError(
                    f"the run in {options.resume} has --{name} {saved[name]}, and {getattr(options, name)}"
                    f" was asked for: leave --{name} out to go on, or --resume to begin another run"
                )
    for name, value in (SMALL if options.small else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    scale = 1000 / options.num_diffusion_train_timesteps
    options.beta_1 = 1e-4 * scale if options.beta_1 is None else options.beta_1
    options.beta_T = min(0.999, 0.02 * scale) if options.beta_T is None else options.beta_T
    if options.image_channels is None:
        options.image_channels = 1 if options.dataset in GREY and not options.plain else 3
    if options.image_channels == 1 and options.dataset not in GREY:
        raise LabError(f"--image_channels 1 is for {', '.join(GREY)}; {options.dataset} is in colour")
    if options.plain and options.ema:
        raise LabError("--plain keeps no averaged weights: leave --ema or --plain out")
    if options.plain and (options.use_cfg or options.image_channels == 1):
        raise LabError("--plain knows no class labels and no single channel: leave them out")
    for name in (
        "batch_size",
        "train_num_steps",
        "num_diffusion_train_timesteps",
        "sample_every",
        "checkpoint_every",
        "num_samples",
    ):
        if getattr(options, name) < 1:
            raise LabError(f"--{name} {getattr(options, name)}: at least 1 is needed")
    return options, contents


def make_module(options: argparse.Namespace, device: torch.device, num_classes: int | None = None) -> DiffusionModule:
    try:
        network = UNet(
            options.image_size,
            options.ch,
            options.ch_mult,
            options.attn,
            options.num_res_blocks,
            options.dropout,
            getattr(options, "image_channels", 3),
            num_classes,
        )
    except ValueError as error:
        raise LabError(f"no such U-Net: {error}") from error
    scheduler = DDPMScheduler(options.num_diffusion_train_timesteps, options.beta_1, options.beta_T, options.mode)
    return DiffusionModule(network, scheduler, predictor=options.predictor).to(device)


class Run:
    """One training run and its folder."""

    def __init__(self, options: argparse.Namespace, contents: dict | None):
        self.options = options
        device = device_named(options.device)
        about = (options.dataset, options.data_dir, options.image_size, options.max_num_images_per_cat)
        images = training_images(*about)[:, : options.image_channels].contiguous()
        labels, self.classes = training_labels(*about) if options.use_cfg else (None, None)
        torch.manual_seed(options.seed)
        self.module = make_module(options, device, len(self.classes) if self.classes else None)
        self.images_sha256 = hashlib.sha256(images.numpy()).hexdigest()
        self.start = contents["training"]["step"] if contents else 0
        if contents:
            self.module.load_state_dict(contents["state_dict"])
        if options.plain:
            source = images
            if options.dataset == "afhq":
                folder = options.data_dir or default_folder("afhq")
                source = folder_files(Path(folder), "train", options.max_num_images_per_cat)
            self.plan = fast.Plan(device)
            self.trainer = plain.PlainTrainer(self.module, source, options, self.start)
        else:
            self.trainer = fast.FastTrainer(self.module, images, options, labels=labels)
            self.plan = self.trainer.plan
        self.folder = options.resume or new_folder(options)
        if contents:
            self.go_on(contents)
        self.csv = self.folder / "loss.csv"
        curves.keep_before(self.csv, self.start)
        self.write_config()
        print(f"{self.folder}: {len(images)} images, {self.plan}", file=sys.stderr)

    def go_on(self, contents: dict) -> None:
        """The rest of the checkpoint: random numbers last, since building the model has drawn some."""
        if contents["training"]["images_sha256"] != self.images_sha256:
            print("the training images are not those that this run began with", file=sys.stderr)
        self.trainer.restore(contents)
        torch.set_rng_state(contents["rng"]["cpu"])
        if self.plan.device.type == "cuda" and "cuda" in contents["rng"]:
            torch.cuda.set_rng_state(contents["rng"]["cuda"], self.plan.device)

    def train(self) -> None:
        """The loop. Nothing but take_losses() makes the CPU wait for the device."""
        options, stop = self.options, StopOnSignal()
        end = options.train_num_steps
        began = time.monotonic()
        self.module.train()
        with stop, tqdm(total=end, initial=self.start, unit="step", dynamic_ncols=True) as bar:
            step = done = self.start
            while step < end and not stop.asked and time.monotonic() - began < 60 * options.minutes:
                self.trainer.step(step)
                step += 1
                checkpoint_due, samples_due = step % options.checkpoint_every == 0, step % options.sample_every == 0
                if step % LOG_EVERY == 0 or checkpoint_due or samples_due or step == end:
                    done = self.log(bar, done)
                if checkpoint_due and step < end:
                    self.save(step)
                if samples_due and step < end:
                    self.draw_samples(step)
            self.log(bar, done)
            self.save(step)
        curves.draw({options.predictor: curves.read(self.csv)}, self.folder / "loss.png", str(self.folder))
        if step < end:
            print(f"stopped after step {step}. To go on: python train.py --resume {self.folder}", file=sys.stderr)
        if stop.asked:
            raise KeyboardInterrupt
        self.draw_samples(step)

    def log(self, bar: tqdm, done: int) -> int:
        """Writes the losses since step `done`; returns the number of steps that are written."""
        losses = self.trainer.take_losses()
        if not losses:
            return done
        curves.append(self.csv, done, losses)
        if not all(map(math.isfinite, losses)):
            raise LabError(
                f"the loss is not finite any more, between steps {done} and {done + len(losses)}. If this"
                " began early, look at your TODOs for a division by zero; later, try a smaller --lr. The"
                f" last checkpoint in {self.folder} is from before"
            )
        bar.update(len(losses))
        rate = (bar.n - bar.initial) * self.options.batch_size / max(1e-9, bar.format_dict["elapsed"])
        bar.set_postfix_str(f"loss {sum(losses) / len(losses):.4g}, {rate:.0f} images/s")
        return done + len(losses)

    def save(self, step: int) -> None:
        options = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(self.options).items()
            if name not in ("resume", "minutes", "device")
        }
        rng = {"cpu": torch.get_rng_state()}
        if self.plan.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.plan.device)
        training = {"step": step, "options": options, "images_sha256": self.images_sha256}
        checkpoint.save(self.folder / "last.ckpt", self.module, training, {**self.trainer.state(), "rng": rng})

    def draw_samples(self, step: int) -> None:
        """step={n}-{k}.png, and trajectory.png, whose right-most column they are."""
        options = self.options
        times = frame_times(options.num_diffusion_train_timesteps)
        self.module.eval()
        averaged = self.trainer.averaged() if not options.plain else torch.no_grad()
        with averaged, fast.untouched_rng(self.plan):  # the losses do not depend on when samples are drawn
            numbers = list(range(options.num_samples))
            network = None
            if self.classes:
                labels = torch.tensor(numbers, device=self.plan.device) % len(self.classes)
                network = fast.for_classes(self.module.network, labels)
            x_0, frames = fast.sample(self.module, numbers, options.seed, self.plan, len(numbers), times, network)
        self.module.train()
        for k, pixels in enumerate(to_pixels(x_0)):
            save_image(pixels, self.folder / f"step={step}-{k}.png")
        save_image(strip([to_pixels(frame) for frame in frames]), self.folder / "trajectory.png")
        curves.draw({options.predictor: curves.read(self.csv)}, self.folder / "loss.png", str(self.folder))

    def write_config(self) -> None:
        about = {
            **self.module.config,
            "options": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in vars(self.options).items()
                if name not in ("resume", "minutes")
            },
            **({"classes": self.classes} if self.classes else {}),
            "environment": {"torch": torch.__version__, "plan": str(self.plan)},
        }
        (self.folder / "config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


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


class StopOnSignal:
    """Ctrl-C, and the SIGTERM of a cluster, end the loop after the step at hand; a second one ends it at once."""

    asked = False

    def __enter__(self):
        self.before = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *exception) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def main() -> None:
    Run(*read_options(None)).train()


if __name__ == "__main__":
    sys.exit(run_script(main))
