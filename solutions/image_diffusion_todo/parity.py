"""The same model sampled by the lab and by the library diffusers: how far apart are the images?

    python parity.py --ckpt_path results/predictor_noise/beta_linear/09-05-201510/last.ckpt

Needs `pip install diffusers`, the TODOs extra.fast_sample and extra.diffusers_parity, and a model that predicts noise;
without --ckpt_path it takes one with random weights. Prints the largest difference of each pair of samplers and of
the schedules' tables, and how many lines the library does the work of. Exit code 1 where something is further apart
than the tolerance: both compute in float32, and round differently at every step.
"""

import argparse
import ast
import sys
from pathlib import Path

import companions
import scheduler as lab
import torch
from companions import diffusers_classes, diffusers_schedulers, fast_sample
from engine import checkpoint
from engine.errors import LabError, device_named, run_script
from engine.images import save_image, strip, to_pixels
from model import DiffusionModule
from network import UNet
from scheduler import MODES

TOLERANCE = 1e-3  # of an image in [-1, 1], where one grey value of a PNG is 8e-3; measured: 2e-5 after 200 steps
BETAS_TOLERANCE = 1e-6  # relative, of numbers that the library keeps in float32
THEIR_NAMES = {"linear": "linear", "quad": "scaled_linear", "cosine": "squaredcos_cap_v2"}


@torch.no_grad()
def lab_ddpm(module: DiffusionModule, x_T: torch.Tensor, seed: int) -> torch.Tensor:
    """The lab's ancestral sampler from x_T (B, C, H, W)."""
    torch.manual_seed(seed)
    x_t = x_T
    for t in module.var_scheduler.timesteps:
        x_t = module.var_scheduler.step(x_t, t, module.network(x_t, timestep=t), predictor="noise")
    return x_t


@torch.no_grad()
def with_diffusers(network: torch.nn.Module, scheduler, x_T: torch.Tensor, num_steps: int, seed: int) -> torch.Tensor:
    """Either scheduler of the library from x_T (B, C, H, W); it draws its noise from the same global generator."""
    torch.manual_seed(seed)
    scheduler.set_timesteps(num_steps)
    x_t = x_T
    for t in scheduler.timesteps:
        x_t = scheduler.step(network(x_t, timestep=t), t, x_t).prev_sample
    return x_t


def lines_of_code(file: str, *names: str) -> int:
    """Lines of a module's functions and classes of these names that hold code: no comments, docstrings, blank lines."""
    chosen = [
        node for node in ast.parse(Path(file).read_text(encoding="utf-8")).body if getattr(node, "name", None) in names
    ]
    for node in (inner for outer in chosen for inner in ast.walk(outer)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return sum(len(ast.unparse(node).splitlines()) for node in chosen)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value where that is above 1."""
    return float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1))


def apart(name: str, found: float, tolerance: float) -> bool:
    """Prints a line; whether the difference found is too large."""
    right = found <= tolerance  # a NaN is not
    print(f"{name:32} {found:8.1e}  {'within' if right else 'MORE THAN'} {tolerance:g}")
    return not right


def compare_tables() -> bool:
    """The lab's schedules against the library's of the same kind, T = 1000. Whether one is too far apart."""
    theirs, _ = diffusers_classes()
    worse = []
    for mode in MODES:
        betas = lab.make_betas(1000, 1e-4, 0.02, mode)
        other = theirs(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=THEIR_NAMES[mode]).betas.double()
        worse.append(apart(f"betas, {mode}, relative", float(((betas - other) / betas).abs().max()), BETAS_TOLERANCE))
    return any(worse)


def compare_samples(module: DiffusionModule, options: argparse.Namespace) -> bool:
    """Both samplers of the lab against the library's, from the same noise. Whether a pair is too far apart."""
    network, scheduler = module.network, module.var_scheduler
    T, size = scheduler.num_train_timesteps, module.image_resolution
    torch.manual_seed(options.seed)
    x_T = torch.randn(options.num_images, network.image_channels, size, size).to(module.device)
    ddpm, ddim = diffusers_schedulers(scheduler)
    rows = [
        lab_ddpm(module, x_T, options.seed),
        with_diffusers(network, ddpm, x_T, T, options.seed),
        fast_sample(network, scheduler, x_T, options.every),
        with_diffusers(network, ddim, x_T, T // options.every, options.seed),
    ]
    pictures = torch.stack([to_pixels(row) for row in rows])  # (4, B, C, H, W)
    save_image(strip(list(pictures.unbind(1))), options.out)
    print(f"{options.out}: rows are the lab's DDPM, the library's, fast_sample, the library's DDIM")
    worse = [
        apart(f"images, DDPM, {T} steps", difference(rows[0], rows[1]), TOLERANCE),
        apart(f"images, DDIM, {T // options.every} steps", difference(rows[2], rows[3]), TOLERANCE),
    ]
    return any(worse)


def tell_lines() -> None:
    ours = lines_of_code(lab.__file__, "cosine_betas", "make_betas", "BaseScheduler", "DDPMScheduler") + lines_of_code(
        companions.__file__, "as_noise", "fast_sample"
    )
    theirs = lines_of_code(companions.__file__, "diffusers_schedulers")
    print(
        f"lines of code: {ours} of schedules, steps and fast_sample here; {theirs} to set the library up:"
        f" {ours - theirs} fewer"
    )


def random_model() -> DiffusionModule:
    """A small network that has learned nothing, for trying the command out."""
    torch.manual_seed(0)
    return DiffusionModule(UNet(8, 32, [1, 2], [1], 1, 0.0, 1), lab.DDPMScheduler(100, 1e-3, 0.2)).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, help="last.ckpt of a training run with --predictor noise")
    parser.add_argument("--every", type=int, default=10, metavar="K", help="stride of fast_sample (default: 10)")
    parser.add_argument("--num_images", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("parity.png"), help="picture of the images")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    options = parser.parse_args()
    try:
        diffusers_classes()
    except ImportError as error:
        raise LabError(str(error)) from error
    module = random_model()
    if options.ckpt_path:
        module, _ = checkpoint.load_for_sampling(options.ckpt_path, device_named(options.device))
    T = module.var_scheduler.num_train_timesteps
    if module.predictor != "noise":
        raise LabError(f"{options.ckpt_path} predicts {module.predictor}, and this comparison needs a model of noise")
    if options.every < 1 or T % options.every:
        raise LabError(f"--every {options.every}: the library's grid is ours only where it divides T = {T}")
    tables_apart, images_apart = compare_tables(), compare_samples(module, options)
    tell_lines()
    if tables_apart or images_apart:
        raise LabError("the lab and the library do not agree")


if __name__ == "__main__":
    sys.exit(run_script(main))
