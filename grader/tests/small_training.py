"""Trainings of ten steps by the loops of the image half, on networks of 8x8 pixels; what tests on a card use as well.

Nothing here needs pytest: `make gpu` runs where there may be none.
"""

from types import SimpleNamespace

import torch

T = 10
OPTIONS = SimpleNamespace(
    batch_size=4, lr=2e-4, warmup_steps=2, seed=0, ema=0.0, workers=0, checkpoint_every=100, sample_every=100
)


def make_module(lab, predictor="noise"):
    torch.manual_seed(0)
    network = lab.network.UNet(8, 32, [1, 2], [1], 1, dropout=0.0)
    return lab.model.DiffusionModule(network, lab.scheduler.DDPMScheduler(T, 0.01, 0.3), predictor)


def make_images():
    smooth = torch.rand(12, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return (torch.nn.functional.interpolate(smooth, size=(8, 8), mode="bilinear") * 255).to(torch.uint8)


class Steps:
    """What train.py's loop asks of a run, without a folder."""

    def __init__(self, lab, module, plan, options, count):
        self.scaler, self.average = plan.scaler(), lab.engine.fast.Average(module.network, options.ema)
        self.count, self.losses = count, []

    def steps(self):
        return range(self.count)

    def log(self, loss):
        self.losses.append(loss.item())

    def is_due(self, every):
        return False


def run_of(lab, module, images, plan, options=OPTIONS, count=10):
    """The run of so many steps of train.py's own loop, done."""
    plan = lab.engine.fast.prepare(module, plan, options.batch_size)
    optimizer = torch.optim.Adam(module.network.parameters(), lr=options.lr, fused=plan.fused)
    if plan.plain:
        batches = lab.engine.data.Decoded(images, 8, options, plan.device)
    else:
        batches = lab.engine.data.OnDevice(images, options, plan.device)
    run = Steps(lab, module, plan, options, count)
    torch.manual_seed(3)
    lab.train.train_steps(module, batches, optimizer, run, options)
    return run


def losses_of(*arguments, **options):
    return torch.tensor(run_of(*arguments, **options).losses)
