"""Draws images with a trained model: one PNG each, 00000.png, 00001.png, ...

    python sampling.py --ckpt_path results/predictor_noise/beta_linear/09-05-201510/last.ckpt --save_dir samples

Schedule and predictor come from the checkpoint. The noise of image i depends on --seed and i alone, so the images are
the same whatever the batch size, up to rounding: 1 of 255 in some pixels, where the model does not diverge.
Images that are in the folder already are kept, so that a run that was stopped goes on.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import checkpoint
import fast
import torch
from errors import LabError, device_named, run_script
from images import save_image, strip, to_pixels
from tqdm import tqdm

FRAMES = 10  # columns of a trajectory strip
STRIPS = 8  # images that --traj follows


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="last.ckpt of a training run")
    parser.add_argument("--save_dir", type=Path, required=True, help="folder of the images")
    parser.add_argument("--num_images", type=int, default=500)
    parser.add_argument("--batch_size", type=int, help="images at once (default: 250 on a GPU, 50 elsewhere)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, metavar="K", help="fast_sample: each K-th timestep, without randomness")
    parser.add_argument("--use_cfg", action="store_true", help="of given classes, with guidance, if trained so")
    parser.add_argument("--cfg_scale", type=float, default=3.0, help="0: no class, 1: no guidance (default: 3)")
    parser.add_argument("--class_label", type=int, metavar="C", help="default: the classes in turn")
    parser.add_argument("--traj", action="store_true", help=f"also trajectory.png: {STRIPS} images on their way")
    parser.add_argument("--mode", help="only checked: an error if the checkpoint has another schedule")
    parser.add_argument("--no_ema", action="store_true", help="the last weights, also if there are averaged ones")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    parser.add_argument("--float32", action="store_true", help="no mixed precision")
    return parser


def check_mode(asked: str | None, config: dict, path: Path) -> None:
    """A schedule other than the trained one gives noise, without any error."""
    trained = config["scheduler"]["mode"]
    if asked is not None and asked != trained:
        raise LabError(f"{path} was trained with --mode {trained}, and {asked} was asked for: leave --mode out")


def claim_folder(folder: Path, about: dict) -> None:
    """Makes the folder, or checks that what is in it came from the same checkpoint and seed."""
    about_file = folder / "sampling.json"
    if about_file.is_file():
        there = json.loads(about_file.read_text(encoding="utf-8"))
        different = [name for name in {**there, **about} if there.get(name) != about.get(name)]
        if different:
            raise LabError(f"{folder} has images of another {' and '.join(different)}: choose another --save_dir")
        return
    if folder.is_dir() and any(folder.glob("*.png")):
        raise LabError(f"{folder} has images that sampling.py did not make: choose another --save_dir")
    folder.mkdir(parents=True, exist_ok=True)
    about_file.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def in_batches(numbers: list[int], batch_size: int) -> list[list[int]]:
    return [numbers[i : i + batch_size] for i in range(0, len(numbers), batch_size)]


def classes_of(numbers: list[int], num_classes: int, asked: int | None) -> list[int]:
    """The class of each image: the one asked for, or all in turn."""
    return [number % num_classes if asked is None else asked for number in numbers]


def check_companions(options: argparse.Namespace, config: dict) -> None:
    """Options that the checkpoint's model or one another rule out."""
    T, num_classes = config["scheduler"]["num_train_timesteps"], config["network"].get("num_classes")
    if options.every is not None and not 1 <= options.every <= T:
        raise LabError(f"--every {options.every}: from 1 to {T}, the timesteps of the checkpoint")
    if options.every is not None and options.traj:
        raise LabError("--traj shows the way of the slow sampler: leave --every or --traj out")
    if options.use_cfg and num_classes is None:
        raise LabError(f"{options.ckpt_path} was trained without classes: train.py --use_cfg trains with them")
    if options.class_label is not None and not 0 <= options.class_label < (num_classes or 0):
        raise LabError(f"--class_label {options.class_label}: the classes are 0 to {(num_classes or 0) - 1}")


def frame_times(T: int) -> list[int]:
    """Timesteps whose results are a strip's columns, after the first, which is x_T: the last is x_0."""
    return sorted({round(i * (T - 1) / (FRAMES - 1)) for i in range(FRAMES)} - {T - 1})


def main() -> None:
    options = make_parser().parse_args()
    if options.num_images < 1 or (options.batch_size or 1) < 1:
        raise LabError("--num_images and --batch_size: at least 1 is needed")
    device = device_named(options.device)
    module, contents = checkpoint.load_for_sampling(options.ckpt_path, device, not options.no_ema)
    config = contents["config"]
    check_mode(options.mode, config, options.ckpt_path)
    check_companions(options, config)
    plan = fast.choose(device, training=False, float32=options.float32)
    batch_size = min(options.num_images, options.batch_size or (250 if device.type == "cuda" else 50))
    about = {
        "checkpoint": hashlib.sha256(options.ckpt_path.read_bytes()).hexdigest(),
        "seed": options.seed,
        "ema": "ema" in contents and not options.no_ema,
    }
    about |= {} if options.every is None else {"every": options.every}
    about |= {"cfg_scale": options.cfg_scale, "class_label": options.class_label} if options.use_cfg else {}
    claim_folder(options.save_dir, about)
    numbers = [i for i in range(options.num_images) if not (options.save_dir / f"{i:05d}.png").is_file()]
    print(
        f"{config['scheduler']['mode']} schedule, predictor {config['predictor']}, {plan}: {len(numbers)} images"
        f" to draw, {options.num_images - len(numbers)} are there",
        file=sys.stderr,
    )
    fast.prepare(module.network, plan)
    doubled = 2 if options.use_cfg and options.cfg_scale != 1 else 1  # with a class and without
    plan = fast.compiles(module, plan, doubled * batch_size, training=False)

    def network_for(batch: list[int]):
        if not options.use_cfg:
            return None
        labels = classes_of(fast.filled_up(batch, batch_size), config["network"]["num_classes"], options.class_label)
        return fast.for_classes(module.network, torch.tensor(labels, device=device), options.cfg_scale)

    began = time.perf_counter()
    with tqdm(total=len(numbers), unit="img") as bar:
        for batch in in_batches(numbers, batch_size):
            x_0, _ = fast.sample(module, batch, options.seed, plan, batch_size, [], network_for(batch), options.every)
            for number, pixels in zip(batch, to_pixels(x_0), strict=True):
                save_image(pixels, options.save_dir / f"{number:05d}.png")
            bar.update(len(batch))
    if numbers:
        print(f"{len(numbers) / (time.perf_counter() - began):.2f} images/s", file=sys.stderr)
    if options.traj:
        first = list(range(min(STRIPS, options.num_images, batch_size)))
        times = frame_times(module.var_scheduler.num_train_timesteps)
        _, frames = fast.sample(module, first, options.seed, plan, batch_size, times, network_for(first))
        # Not among the samples, where it would be counted as one of them by a FID.
        save_image(
            strip([to_pixels(frame) for frame in frames]),
            options.save_dir.with_name(options.save_dir.name + "_trajectory.png"),
        )


if __name__ == "__main__":
    sys.exit(run_script(main))
