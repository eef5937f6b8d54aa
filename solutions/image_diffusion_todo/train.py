"""Trains a diffusion model on images: DDPM Algorithm 1, https://arxiv.org/abs/2006.11239.

    python train.py --mode linear --predictor noise            the full model: a GPU, AFHQ
    python train.py --small --train_num_steps 3000             a model for a laptop's CPU, 32x32
    python train.py --dataset mnist --image_size 28 --small --ch 32 --use_cfg     digits, and their classes
    python train.py --resume results/predictor_noise/beta_linear/09-05-201510

Writes results/predictor_{p}/beta_{m}/{time}/: config.json, last.ckpt, loss.csv, loss.png, step={n}-{k}.png and
trajectory.png (rows are images, from noise on the left to the sample on the right). Ctrl-C saves before it stops.

train_steps() is the loop, whatever the options. What makes it fast, and lets it go on after a stop, is in engine/.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from dataset import training_images, training_labels
from engine import commands, data, errors, fast, noise, runs
from model import DiffusionModule
from network import UNet
from sampling import for_classes, frame_times, sample
from scheduler import DDPMScheduler


def make_module(options, device: torch.device, num_classes: int | None = None) -> DiffusionModule:
    """The untrained model that the options describe."""
    blocks = options.ch, options.ch_mult, options.attn, options.num_res_blocks, options.dropout
    try:
        network = UNet(options.image_size, *blocks, options.image_channels, num_classes)
    except ValueError as error:
        raise errors.LabError(f"no such U-Net: {error}") from error
    scheduler = DDPMScheduler(options.num_diffusion_train_timesteps, options.beta_1, options.beta_T, options.mode)
    return DiffusionModule(network, scheduler, predictor=options.predictor).to(device)


def train_steps(module: DiffusionModule, batches, optimizer: torch.optim.Optimizer, run, options) -> None:
    """The training loop."""
    module.train()
    for step in run.steps():  # 0, 1, ..., or from where the run was stopped
        x0, label = batches.batch(step)  # (B, C, H, W) in [-1, 1]; label is None, or with --use_cfg (B,)
        for group in optimizer.param_groups:
            group["lr"] = warmed_up(step, options.lr, options.warmup_steps)

        loss = module.get_loss(x0, class_label=label)  # draws t and the noise
        optimizer.zero_grad(set_to_none=True)
        run.scaler.scale(loss).backward()  # the scaler is for float16, and idle elsewhere
        run.scaler.step(optimizer)
        run.scaler.update()

        run.average.update(step)  # of the weights, with --ema
        run.log(loss)
        if run.is_due(options.checkpoint_every):
            run.save()
        if run.is_due(options.sample_every):
            draw_samples(module, run, options)


def warmed_up(step: int, lr: float, warmup_steps: int) -> float:
    """The learning rate of a step: rises linearly for warmup_steps, then stays."""
    return lr * min(1.0, (step + 1) / max(1, warmup_steps))


def draw_samples(module: DiffusionModule, run, options) -> None:
    """Images 0, 1, ... of the model as it is, always from the same noise."""
    numbers = list(range(options.num_samples))
    network = module.network
    if network.num_classes is not None:
        labels = torch.tensor(numbers, device=module.device) % network.num_classes
        network = for_classes(network, labels)
    module.eval()
    with run.average.in_place(), fast.untouched_rng(module.device):  # so the losses do not depend on when this is
        streams = noise.streams(module, options.seed, numbers)
        x_0, frames = sample(module, streams, network, frame_times(options.num_diffusion_train_timesteps))
    module.train()
    run.save_samples(x_0, frames)


def train(options, contents: dict | None = None) -> Path:
    """A whole run, or the rest of the one whose checkpoint has these contents. Returns its folder."""
    device = errors.device_named(options.device)
    about = (options.dataset, options.data_dir, options.image_size, options.max_num_images_per_cat)
    images = training_images(*about)[:, : options.image_channels].contiguous()  # uint8 (N, C, H, W)
    labels, classes, drop = None, None, None
    if options.use_cfg:
        from companions import drop_labels  # only here, so that the lab works while that exercise does not

        labels, classes = training_labels(*about)  # (N,)
        drop = partial(drop_labels, p=options.cfg_dropout, null_label=len(classes))

    torch.manual_seed(options.seed)
    module = make_module(options, device, len(classes) if classes else None)
    plan = fast.choose(device, plain=options.plain)
    plan = fast.prepare(module, plan, options.batch_size)
    optimizer = torch.optim.Adam(module.network.parameters(), lr=options.lr, fused=plan.fused)
    batches = data.batches(images, options, plan, labels, drop)
    with runs.Run(options, contents, module, optimizer, plan, images, classes) as run:
        train_steps(module, batches, optimizer, run, options)
        run.save()  # last.ckpt
    run.end()
    draw_samples(module, run, options)
    return run.folder


def main() -> None:
    train(*commands.training_options(__doc__))


if __name__ == "__main__":
    sys.exit(errors.run_script(main))
