"""Pictures of a trained model, for the companion exercises: how it works, what it draws, how a sample comes about.

    python gallery.py --ckpt_path results/predictor_noise/beta_linear/09-05-201510/last.ckpt --out figures

alpha_bar.png: what is left of the image at every t. filmstrip.png: one sample at six noise levels. samples.png: 8x8
images by the ordinary sampler. fast.png: from the same noise by fast_sample, every k-th timestep. guidance.png, for a
model with classes: each class with more and more guidance.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from engine import checkpoint, fast, noise
from engine.errors import LabError, device_named, run_script
from engine.images import grid, save_image, strip, to_pixels
from matplotlib.figure import Figure
from sampling import classes_of, for_classes, sample
from scheduler import MODES, BaseScheduler

LEVELS = (1, 2 / 3, 2 / 5, 1 / 5, 1 / 15, 0)  # of a filmstrip, as shares of T: coarse shapes come early, texture late
SCALES = (0.0, 1.0, 3.0)  # rows of guidance.png
WIDTH = 96  # pixels of an image in a picture, about


def noise_levels(T: int) -> list[int]:
    """How many steps of noise are left in the pictures of a filmstrip: T for the pure noise, 0 for the sample."""
    return [round(share * T) for share in LEVELS]


def enlarged(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 (..., H, W) with each pixel as a square of several, so that small images can be seen."""
    zoom = max(1, WIDTH // size)
    return pixels.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)


def draw_alpha_bar(config: dict, path: Path) -> None:
    """The three schedules for the same T, the model's own drawn thick, and the noise levels of the filmstrip."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    T = config["num_train_timesteps"]
    for mode in MODES:
        alphas_cumprod = BaseScheduler(T, config["beta_1"], config["beta_T"], mode).alphas_cumprod
        own = mode == config["mode"]
        axes.plot(alphas_cumprod.numpy(), label=f"{mode}, this model" if own else mode, linewidth=3 if own else 1)
    for level in noise_levels(T):
        axes.axvline(max(level - 1, 0), color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel="t", ylabel="$\\bar\\alpha_t$, the image's share of the variance", title=f"T = {T}")
    axes.legend()
    figure.savefig(path, dpi=130)


def draw_filmstrip(frames: list[torch.Tensor], T: int, path: Path) -> None:
    """frames: images (1, C, H, W) at the six noise levels."""
    figure = Figure(figsize=(9, 1.9), layout="constrained")
    for axes, frame, level in zip(figure.subplots(1, len(frames)), frames, noise_levels(T), strict=True):
        image = to_pixels(frame)[0].permute(1, 2, 0)  # (H, W, C)
        axes.imshow(image.expand(-1, -1, 3).numpy(), interpolation="nearest")
        axes.set_title(f"$x_{{{level}}}$")
        axes.set_axis_off()
    figure.savefig(path, dpi=130)


class Gallery:
    """A model on a device, and the folder of its pictures. All begin with the same noise."""

    def __init__(self, options: argparse.Namespace):
        device = device_named(options.device)
        self.module, contents = checkpoint.load_for_sampling(options.ckpt_path, device)
        self.config, self.options = contents["config"], options
        plan = fast.choose(device, training=False)
        plan = replace(plan, compiled=False)  # anew for batches of every size it would not pay
        fast.prepare(self.module, plan, batch_size=64)
        self.num_classes = self.config["network"].get("num_classes")
        self.T, self.size = self.module.var_scheduler.num_train_timesteps, self.module.image_resolution

    def sample(self, numbers: list[int], frames: list[int], scale: float, every: int | None = None):
        """x_0 (B, C, H, W) and the frames of these images; of a model with classes, of all classes in turn."""
        network = None
        if self.num_classes is not None:
            labels = torch.tensor(classes_of(numbers, self.num_classes, None), device=self.module.device)
            network = for_classes(self.module.network, labels, scale)
        streams = noise.streams(self.module, self.options.seed, numbers)
        return sample(self.module, streams, network, frames, every)

    def draw(self) -> None:
        options, levels = self.options, noise_levels(self.T)
        draw_alpha_bar(self.config["scheduler"], self.told("alpha_bar.png"))
        _, frames = self.sample([options.number], levels[1:], options.cfg_scale)
        draw_filmstrip(frames, self.T, self.told("filmstrip.png"))
        samples, _ = self.sample(list(range(64)), [], options.cfg_scale)
        save_image(grid(enlarged(to_pixels(samples), self.size)), self.told(f"samples.png: {self.T} steps"))
        samples, _ = self.sample(list(range(64)), [], options.cfg_scale, options.every)
        steps = len(range(0, self.T, options.every))
        save_image(grid(enlarged(to_pixels(samples), self.size)), self.told(f"fast.png: {steps} steps"))
        if self.num_classes is not None:
            self.draw_guidance()

    def draw_guidance(self) -> None:
        """A row a scale, a column a class; a column begins with the same noise."""
        numbers = list(range(min(self.num_classes, 10)))
        rows = [self.sample(numbers, [], scale, self.options.every)[0] for scale in SCALES]
        columns = enlarged(to_pixels(torch.stack(rows)), self.size).unbind(1)  # each (rows, C, H, W)
        said = ", ".join(f"{scale:g}" for scale in SCALES)
        save_image(strip(list(columns)), self.told(f"guidance.png: scales {said} from the top"))

    def told(self, what: str) -> Path:
        """The path of a picture, of which stdout has a line."""
        path = self.options.out / what.partition(":")[0]
        print(f"{self.options.out / what}")
        return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="last.ckpt of a training run")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--every", type=int, default=10, metavar="K", help="stride of fast.png (default: 10)")
    parser.add_argument("--cfg_scale", type=float, default=1.0, help="of the samples (default: 1, no guidance)")
    parser.add_argument("--number", type=int, default=0, metavar="I", help="which image the filmstrip follows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    options = parser.parse_args()
    if options.every < 1:
        raise LabError(f"--every {options.every}: at least 1 is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    Gallery(options).draw()


if __name__ == "__main__":
    sys.exit(run_script(main))
