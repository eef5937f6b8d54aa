"""The options of train.py and sampling.py, and what rules some of them out."""

import argparse
import math
from pathlib import Path

from dataset import GREY, add_data_options
from model import PREDICTORS
from scheduler import MODES

from engine import checkpoint
from engine.errors import LabError

FULL = {"image_size": 64, "ch": 128, "ch_mult": [1, 2, 2, 2], "attn": [1], "num_res_blocks": 4, "dropout": 0.1}
SMALL = {"image_size": 32, "ch": 64, "ch_mult": [1, 2, 2], "attn": [2], "num_res_blocks": 1, "dropout": 0.0}
FULL |= {"sample_every": 10_000, "checkpoint_every": 5_000}
SMALL |= {"sample_every": 2_500, "checkpoint_every": 500}
COUNTS = ("batch_size", "train_num_steps", "num_diffusion_train_timesteps", "sample_every", "checkpoint_every")
MAY_CHANGE = {"resume", "train_num_steps", "sample_every", "checkpoint_every", "num_samples", "device"}
MAY_CHANGE |= {"data_dir", "results_dir", "minutes", "workers"}  # the options that --resume takes anew
DEVICE = "cpu, cuda, cuda:1, mps (default: a GPU if there is one)"


def training_parser(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    averages = "average the weights, and sample with the average (0.9999 if no number follows)"
    parser.add_argument("--ema", type=float, nargs="?", const=0.9999, default=0.0, metavar="DECAY", help=averages)
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
    parser.add_argument("--device", help=DEVICE)
    parser.add_argument("--plain", action="store_true", help="as a textbook would: see engine/plain.py")
    parser.add_argument("--workers", type=int, help="processes that decode images for --plain")
    return parser


def training_options(about: str = "", argv: list[str] | None = None) -> tuple[argparse.Namespace, dict | None]:
    """The options of train.py, and the contents of the checkpoint to go on with, None for a new run."""
    parser = training_parser(about)
    options, contents = parser.parse_args(argv), None
    if options.resume:
        options, contents = resumed(parser, argv, options.resume)
    for name, value in (SMALL if options.small else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    scale = 1000 / options.num_diffusion_train_timesteps
    options.beta_1 = 1e-4 * scale if options.beta_1 is None else options.beta_1
    options.beta_T = min(0.999, 0.02 * scale) if options.beta_T is None else options.beta_T
    if options.image_channels is None:
        options.image_channels = 1 if options.dataset in GREY and not options.plain else 3
    check_training(options)
    return options, contents


def resumed(parser: argparse.ArgumentParser, argv: list[str] | None, place: Path) -> tuple[argparse.Namespace, dict]:
    """The options of the run in a folder, but for those that may change, and its checkpoint's contents."""
    folder = place if place.is_dir() else place.parent
    contents = checkpoint.read(place / "last.ckpt" if place.is_dir() else place)
    saved = contents["training"].get("options")
    if saved is None or "optimizer" not in contents:
        raise LabError(f"{folder / 'last.ckpt'} holds a model, and not the state of a training run")
    parser.set_defaults(**{"image_channels": 3, **saved})  # an older run has no image_channels
    options = parser.parse_args(argv)
    options.resume = folder
    for name in saved.keys() - MAY_CHANGE:
        if getattr(options, name) != saved[name]:
            raise LabError(
                f"the run in {folder} has --{name} {saved[name]}, and {getattr(options, name)}"
                f" was asked for: leave --{name} out to go on, or --resume to begin another run"
            )
    return options, contents


def check_training(options: argparse.Namespace) -> None:
    if options.image_channels == 1 and options.dataset not in GREY:
        raise LabError(f"--image_channels 1 is for {', '.join(GREY)}; {options.dataset} is in colour")
    if options.plain and options.ema:
        raise LabError("--plain keeps no averaged weights: leave --ema or --plain out")
    if options.plain and (options.use_cfg or options.image_channels == 1):
        raise LabError("--plain knows no class labels and no single channel: leave them out")
    for name in (*COUNTS, "num_samples"):
        if getattr(options, name) < 1:
            raise LabError(f"--{name} {getattr(options, name)}: at least 1 is needed")


def sampling_options(about: str = "", argv: list[str] | None = None) -> argparse.Namespace:
    """The options of sampling.py."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="last.ckpt of a training run")
    parser.add_argument("--save_dir", type=Path, required=True, help="folder of the images")
    parser.add_argument("--num_images", type=int, default=500)
    parser.add_argument("--batch_size", type=int, help="images at once (default: 250 on a GPU, 50 elsewhere)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, metavar="K", help="fast_sample: each K-th timestep, without randomness")
    parser.add_argument("--use_cfg", action="store_true", help="of given classes, with guidance, if trained so")
    parser.add_argument("--cfg_scale", type=float, default=3.0, help="0: no class, 1: no guidance (default: 3)")
    parser.add_argument("--class_label", type=int, metavar="C", help="default: the classes in turn")
    parser.add_argument("--traj", action="store_true", help="also trajectory.png: 8 images on their way")
    parser.add_argument("--mode", help="only checked: an error if the checkpoint has another schedule")
    parser.add_argument("--no_ema", action="store_true", help="the last weights, also if there are averaged ones")
    parser.add_argument("--device", help=DEVICE)
    parser.add_argument("--float32", action="store_true", help="no mixed precision")
    options = parser.parse_args(argv)
    if options.num_images < 1 or (options.batch_size or 1) < 1:
        raise LabError("--num_images and --batch_size: at least 1 is needed")
    return options


def check_sampling(options: argparse.Namespace, config: dict) -> None:
    """Options that the checkpoint's model or one another rule out."""
    T, num_classes = config["scheduler"]["num_train_timesteps"], config["network"].get("num_classes")
    trained = config["scheduler"]["mode"]  # another schedule would give noise, without any error
    if options.mode is not None and options.mode != trained:
        raise LabError(
            f"{options.ckpt_path} was trained with --mode {trained}, and {options.mode} was asked for: leave --mode out"
        )
    if options.every is not None and not 1 <= options.every <= T:
        raise LabError(f"--every {options.every}: from 1 to {T}, the timesteps of the checkpoint")
    if options.every is not None and options.traj:
        raise LabError("--traj shows the way of the slow sampler: leave --every or --traj out")
    if options.use_cfg and num_classes is None:
        raise LabError(f"{options.ckpt_path} was trained without classes: train.py --use_cfg trains with them")
    if options.class_label is not None and not 0 <= options.class_label < (num_classes or 0):
        raise LabError(f"--class_label {options.class_label}: the classes are 0 to {(num_classes or 0) - 1}")
