"""Images per second of the plain and the default loops, side by side, and their share of the device's peak.

    python benchmark.py                                   the full model, on the GPU if there is one
    python benchmark.py --small --device cpu --batch_sizes 16 64

The images are JPEGs made up for the purpose, of AFHQ's 512x512 pixels unless --jpeg_size says otherwise. Sampling is
measured on fewer timesteps than 1,000 and given for 1,000.
"""

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from dataset import decode_files, folder_files
from engine import data, fast, noise, runs
from engine.commands import FULL, SMALL
from engine.errors import device_named, run_script
from engine.images import write_atomically
from PIL import Image
from sampling import sample
from torch.utils.flop_counter import FlopCounterMode
from train import make_module, train_steps

# Dense bfloat16 (float16 for the two oldest) in TFLOP/s, from NVIDIA's data sheets.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125, "4090": 165}
PEAKS |= {"V100": 125, "T4": 65}
T_SAMPLED = 1000


def make_jpegs(folder: Path, size: int, count: int = 64) -> None:
    """Smooth random pictures with some grain: JPEGs of about AFHQ's size in bytes."""
    rng = np.random.default_rng(0)
    place = folder / "train" / "cat"
    place.mkdir(parents=True)
    for i in range(count):
        smooth = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((size, size), 3)
        grain = rng.integers(-6, 7, (size, size, 3))
        Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)).save(place / f"{i}.jpg", quality=90)


def per_second(work, amount: int, device: torch.device, seconds: float) -> float:
    """amount / time of work(), repeated for `seconds`; the GPU's queue is empty at both ends."""
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    began, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - began < seconds:
        work()
        rounds += 1
    finish()
    return rounds * amount / (time.perf_counter() - began)


def peak(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """FLOP/s, and where the number is from."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for known, tera in PEAKS.items():
            if known in name:
                return tera * 1e12, f"{name}, data sheet, dense"
    return measured_peak(device, dtype)


def measured_peak(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """FLOP/s of the best of 20 products of large matrices, and what was measured."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device, dtype=dtype).unbind()
    torch.mm(a, b)
    best = max(per_second(lambda: torch.mm(a, b), 2 * n**3, device, 0.1) for _ in range(20))
    return best, f"the best {n}x{n} matrix product measured"


def count_flops(options) -> float:
    """Of one image through the network, forwards; a multiply-add is two."""
    module = make_module(options, torch.device("cpu")).eval()
    x = torch.zeros(1, 3, options.image_size, options.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.network(x, timestep=torch.zeros(1, dtype=torch.long))
    return counter.get_total_flops()


class TimedRun:
    """What train.py's loop asks of its run, without a folder: some steps at a time, after which the losses are read."""

    def __init__(self, plan: fast.Plan, network: torch.nn.Module, at_once: int):
        self.scaler, self.average = plan.scaler(), fast.Average(network, 0.0)
        self.losses, self.at_once, self.step = runs.Losses(plan), at_once, 0

    def steps(self) -> Iterator[int]:
        self.step += self.at_once
        yield from range(self.step - self.at_once, self.step)
        self.losses.take()

    def log(self, loss: torch.Tensor) -> None:
        self.losses.add(loss)

    def is_due(self, every: int) -> bool:
        return False


class Measured:
    """Training or sampling by one of the loops, in a process of its own as in train.py and sampling.py.

    In one process they would share a memory allocator, and be slow or fast by what the others left in it.
    """

    def __init__(self, name: str, what: str, options, folder: Path, device: torch.device):
        """name: "plain" or "default"; what: "training" or "sampling"."""
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        amount = self.process.submit(set_up, name, what, options, folder, device).result()
        self.arguments = amount, device, options.seconds

    def rate(self) -> float:
        """Images per second, now."""
        return self.process.submit(rate, *self.arguments).result()


work: Callable[[], object]  # of a Measured's process: what is measured in it


def set_up(name: str, what: str, options, folder: Path, device: torch.device) -> float:
    """In its process: makes the work ready and does it once. Returns how many images it is."""
    global work
    files = folder_files(folder, "train", None)
    module, B = make_module(options, device), options.batch_size
    training = what == "training"
    module.train(training).requires_grad_(training)
    plan = fast.prepare(module, fast.choose(device, training, options.float32, plain=name == "plain"), B)
    if training:
        at_once = 20 if device.type == "cuda" else 2  # train.py: 20
        amount: float = at_once * B
        work = train_work(module, files, options, plan, TimedRun(plan, module.network, at_once))
    else:
        amount = B * options.num_diffusion_train_timesteps / T_SAMPLED
        work = sampling_work(module, B, plan)
    work()  # fills caches, starts the loader's processes
    return amount


def train_work(module, files: list[Path], options, plan: fast.Plan, run: TimedRun) -> Callable[[], object]:
    if plan.plain:
        batches = data.Decoded(files, options.image_size, options, plan.device)
    else:
        images = torch.from_numpy(decode_files(files, options.image_size, "train")[0])
        batches = data.OnDevice(images, options, plan.device)
    optimizer = torch.optim.Adam(module.network.parameters(), lr=options.lr, fused=plan.fused)
    return lambda: train_steps(module, batches, optimizer, run, options)


def sampling_work(module, batch_size: int, plan: fast.Plan) -> Callable[[], object]:
    if plan.plain:
        return lambda: module.sample(batch_size, return_traj=True)[-1]  # copies every x_t to the CPU
    return lambda: sample(module, noise.streams(module, 0, list(range(batch_size))))[0].cpu()


def rate(amount: float, device: torch.device, seconds: float) -> float:
    return per_second(work, amount, device, seconds)


def measure(options, folder: Path, device: torch.device) -> dict[tuple[str, str], float]:
    """Images per second of {plain, default} {training, sampling} at one batch size; nan where memory did not do."""
    measured: dict[tuple[str, str], Measured] = {}
    rates: dict[tuple[str, str], list[float]] = {}
    keys = list(product(("plain", "default"), ("training", "sampling")))
    try:
        for key in keys:
            try:
                measured[key] = Measured(*key, options, folder, device)
            except torch.OutOfMemoryError:
                print(f"{' '.join(key)}: out of memory with batches of {options.batch_size}", file=sys.stderr)
                continue
            rates[key] = []
        for _ in range(options.rounds):  # in turn, so that a change of the machine's clock meets both
            for key, found in rates.items():
                found.append(measured[key].rate())
    finally:
        for each in measured.values():
            each.process.shutdown()
    # Other programs only ever make it slower.
    return {key: max(rates[key]) if key in rates else math.nan for key in keys}


def write_json(path: Path, about: dict, rows: list[dict]) -> None:
    """All that is known so far; what was not measured is null."""
    known = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    write_atomically(path, lambda file: file.write(json.dumps({**about, "rows": known}, indent=1).encode()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="train.py's --small model")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[16])
    parser.add_argument("--jpeg_size", type=int, default=512, help="pixels (default: 512)")
    parser.add_argument("--timesteps", type=int, default=16, help="of the sampling that is measured (default: 16)")
    parser.add_argument("--seconds", type=float, default=1.0, help="each measurement (default: 1)")
    parser.add_argument("--rounds", type=int, default=8, help="of measurements, of which the best counts (default: 8)")
    parser.add_argument("--workers", type=int, help="processes that decode for the plain loop (default: up to 4)")
    parser.add_argument("--float32", action="store_true", help="as on a device without bfloat16 and float16")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also for programs, with the peak as measured here")
    asked = parser.parse_args()
    device = device_named(asked.device)
    settings = {**(SMALL if asked.small else FULL), "image_channels": 3, "mode": "linear", "predictor": "noise"}
    settings |= {"beta_1": 1e-4, "beta_T": 0.02, "num_diffusion_train_timesteps": asked.timesteps}
    settings |= {"lr": 2e-4, "warmup_steps": 200, "seed": 0, **vars(asked)}
    options = SimpleNamespace(**settings)
    plan = fast.choose(device, float32=options.float32)
    flops = count_flops(options)
    limit, source = peak(device, plan.dtype)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads; default loop on {plan}")
    print(
        f"peak {limit / 1e12:.3g} TFLOP/s ({source}, {str(plan.dtype).removeprefix('torch.')}); forward"
        f" {flops / 1e9:.1f} GFLOP an image, training three times that; JPEGs of {asked.jpeg_size} pixels"
    )
    print(
        f"{'':9} {'batch':>5} {'plain img/s':>12} {'default img/s':>14} {'ratio':>6} {'of peak: plain':>15}"
        f" {'default':>8}"
    )
    about: dict = {"plan": str(plan), "flops_forward": flops, "peak": limit, "peak_source": source}
    if asked.json:
        about["measured_peak"], _ = measured_peak(device, plan.dtype)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        make_jpegs(Path(folder), asked.jpeg_size)
        for options.batch_size in asked.batch_sizes:
            rates = measure(options, Path(folder), device)
            for what, cost in (("training", 3 * flops), ("sampling", T_SAMPLED * flops)):
                slow, quick = rates["plain", what], rates["default", what]
                rows.append({"what": what, "batch": options.batch_size, "plain": slow, "default": quick, "flops": cost})
                print(
                    f"{what:9} {options.batch_size:5} {slow:12.4g} {quick:14.4g} {quick / slow:6.3g}"
                    f" {slow * cost / limit:15.1%} {quick * cost / limit:8.1%}",
                    flush=True,
                )
            if asked.json:
                write_json(asked.json, about, rows)


if __name__ == "__main__":
    sys.exit(run_script(main))
