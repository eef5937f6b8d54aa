"""Draws images with a trained model: DDPM Algorithm 2, https://arxiv.org/abs/2006.11239.

    python sampling.py --ckpt_path results/predictor_noise/beta_linear/09-05-201510/last.ckpt --save_dir samples

One PNG each: 00000.png, 00001.png, ... Schedule and predictor come from the checkpoint. The noise of image i depends on
--seed and i alone, so the images are the same whatever the batch size, up to rounding: 1 of 255 in some pixels, where
the model does not diverge. Images that are in the folder already are kept, so that a run that was stopped goes on.

sample() is the loop; what makes it fast is in engine/.
"""

import sys
import time
from collections.abc import Callable, Collection
from functools import partial

import torch
from engine import checkpoint, commands, errors, fast, noise, runs
from engine.images import save_image, strip, to_pixels
from model import DiffusionModule
from torch import nn
from tqdm import tqdm

FRAMES = 10  # columns of a trajectory strip
STRIPS = 8  # images that --traj follows


@torch.no_grad()
def sample(
    module: DiffusionModule,
    streams: noise.OneStreamPerImage,
    network: Callable[..., torch.Tensor] | None = None,
    frames: Collection[int] = (),
    every: int | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The reverse process from pure noise to images.

    Args:
        module: in evaluation mode
        streams: where the noise of each of B images comes from
        network: what is asked instead of the module's network, such as for_classes() gives
        frames: timesteps t (the code's, T-1..0) whose x_{t-1} is wanted
        every: by companions.fast_sample with this stride; there are no frames then but x_T
    Returns:
        x_0 (B, C, H, W), and x_T with the frames after it, all on the device
    """
    scheduler, network = module.var_scheduler, network or module.network
    x_t = streams.draw()  # x_T ~ N(0, I), (B, C, H, W)
    kept = [x_t.clone()]
    if every is not None:
        from companions import fast_sample  # only here, so that the lab works while that exercise does not

        return fast_sample(network, scheduler, x_t, every, module.predictor), kept
    numbers = range(scheduler.num_train_timesteps - 1, -1, -1)  # to read them off the tensors, the CPU would wait
    for number, t in zip(numbers, scheduler.timesteps, strict=True):  # T-1, ..., 0
        net_out = network(x_t, timestep=t.expand(len(x_t)))
        with streams:  # in here randn_like(x_t) draws for each image from its own stream
            x_t = scheduler.step(x_t, t, net_out, predictor=module.predictor)
        if number in frames:
            kept.append(x_t.clone())
    return x_t, kept


def for_classes(network: nn.Module, labels: torch.Tensor, scale: float = 1.0) -> Callable[..., torch.Tensor]:
    """The network, asked for the classes `labels` (B,) whatever x_t it is shown, with guidance where scale is not 1."""
    if scale == 1:
        return partial(network, class_label=labels)
    from companions import guided_noise

    return lambda x_t, timestep: guided_noise(network, x_t, timestep, labels, scale, network.num_classes)


def classes_of(numbers: list[int], num_classes: int, asked: int | None) -> list[int]:
    """The class of each image: the one asked for, or all in turn."""
    return [number % num_classes if asked is None else asked for number in numbers]


def frame_times(T: int) -> list[int]:
    """Timesteps whose results are a strip's columns, after the first, which is x_T: the last is x_0."""
    return sorted({round(i * (T - 1) / (FRAMES - 1)) for i in range(FRAMES)} - {T - 1})


def main() -> None:
    options = commands.sampling_options(__doc__)
    device = errors.device_named(options.device)
    module, contents = checkpoint.load_for_sampling(options.ckpt_path, device, not options.no_ema)
    commands.check_sampling(options, contents["config"])
    to_draw = runs.samples_to_draw(options, with_ema="ema" in contents and not options.no_ema)
    batch_size = min(options.num_images, options.batch_size or (250 if device.type == "cuda" else 50))
    doubled = 2 if options.use_cfg and options.cfg_scale != 1 else 1  # with a class and without
    plan = fast.choose(device, training=False, float32=options.float32)
    print(
        f"{contents['config']['scheduler']['mode']} schedule, predictor {module.predictor}, {plan}: {len(to_draw)}"
        f" images to draw, {options.num_images - len(to_draw)} are there",
        file=sys.stderr,
    )
    plan = fast.prepare(module, plan, doubled * batch_size)

    def draw(numbers: list[int], frames: Collection[int] = ()) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """x_0 and frames of the images of these numbers; the last one fills up the batch, so that all have one size."""
        numbers = numbers + numbers[-1:] * (batch_size - len(numbers))
        network = module.network
        if options.use_cfg:
            labels = classes_of(numbers, network.num_classes, options.class_label)
            network = for_classes(network, torch.tensor(labels, device=device), options.cfg_scale)
        return sample(module, noise.streams(module, options.seed, numbers), network, frames, options.every)

    began = time.perf_counter()
    with tqdm(total=len(to_draw), unit="img") as bar:
        for first in range(0, len(to_draw), batch_size):
            batch = to_draw[first : first + batch_size]
            x_0, _ = draw(batch)
            for number, pixels in zip(batch, to_pixels(x_0), strict=False):
                save_image(pixels, options.save_dir / f"{number:05d}.png")
            bar.update(len(batch))
    if to_draw:
        print(f"{len(to_draw) / (time.perf_counter() - began):.2f} images/s", file=sys.stderr)
    if options.traj:
        shown = min(STRIPS, batch_size)
        _, frames = draw(list(range(shown)), frame_times(module.var_scheduler.num_train_timesteps))
        # Not among the samples, where it would be counted as one of them by a FID.
        place = options.save_dir.with_name(options.save_dir.name + "_trajectory.png")
        save_image(strip([to_pixels(frame[:shown]) for frame in frames]), place)


if __name__ == "__main__":
    sys.exit(errors.run_script(main))
