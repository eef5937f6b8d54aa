"""What only a card can show. `make gpu` runs these functions also where pytest is missing: asserts, and a tmp_path."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from grader.fid.benchmark import make_images as write_images
from grader.lab import LAB
from grader.running.grading import Order, grade_submission
from grader.sandbox import SandboxKind
from grader.tests.lab import load_half
from grader.tests.small_training import OPTIONS, losses_of, make_images, make_module
from grader.tools.builder import write
from grader.tools.gpu.scripts import run_script

try:
    import pytest
except ImportError:  # then nobody asks for the marker either
    pass
else:
    pytestmark = pytest.mark.gpu

DEVICE = torch.device(os.environ.get("GPU_TESTS_ON", "cuda"))  # another one only for trying these tests out
TINY: dict[str, Any] = {"image_size": 8, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "batch_size": 4}
TINY |= {"num_diffusion_train_timesteps": 10, "num_samples": 2, "device": DEVICE}


@cache
def lab() -> SimpleNamespace:
    return load_half("image_diffusion_todo")


@cache
def trained_weights() -> dict[str, torch.Tensor]:
    """Of a network that has learnt a little: a fresh one does next to nothing."""
    module = make_module(lab()).to(DEVICE)
    faster = SimpleNamespace(**{**vars(OPTIONS), "lr": 2e-3})
    losses_of(lab(), module, make_images(), lab().engine.fast.choose(DEVICE, plain=True), faster, count=20)
    return module.state_dict()


def prepared(batch_size: int, compiled: bool | None = None) -> tuple[Any, Any]:
    """The module with the device's own plan for sampling, and the plan."""
    torch.compiler.reset()
    module = make_module(lab()).to(DEVICE).eval().requires_grad_(False)
    module.load_state_dict(trained_weights())
    plan = lab().engine.fast.choose(DEVICE, training=False)
    plan = plan if compiled is None else replace(plan, compiled=compiled)
    return module, lab().engine.fast.prepare(module, plan, batch_size)


def size(x: torch.Tensor) -> float:
    """Root mean square."""
    return math.sqrt(x.double().square().mean().item())


# Mixed precision has 8 bits: on a CPU the losses of these ten steps were seen to differ by 0.4% at most.
def test_the_default_loop_has_the_losses_of_the_plain_one():
    torch.compiler.reset()
    slow = losses_of(lab(), make_module(lab()).to(DEVICE), make_images(), lab().engine.fast.choose(DEVICE, plain=True))
    quick = losses_of(lab(), make_module(lab()).to(DEVICE), make_images(), lab().engine.fast.choose(DEVICE))
    torch.testing.assert_close(quick, slow, rtol=0.02, atol=0)
    assert len(set(slow.tolist())) == 10


def test_a_resumed_run_has_the_losses_of_a_whole_one(tmp_path: Path):
    write_images(tmp_path / "data" / "train" / "cat", 12, seed=0, falloff=1.0)

    def losses(name: str, **options: Any) -> list[float]:
        about = {**TINY, "data_dir": tmp_path / "data", "results_dir": tmp_path / name, **options}
        run_script(tmp_path / "cache", "train.py", about)
        with open(next((tmp_path / name).rglob("loss.csv")), encoding="utf-8", newline="") as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    whole = losses("whole", train_num_steps=7)
    assert len(losses("part", train_num_steps=4)) == 4
    again = losses("part", train_num_steps=7, resume=next((tmp_path / "part").rglob("last.ckpt")).parent)
    # A card may add up in another order, so not to the last bit; other noise or another t would change a loss by half.
    torch.testing.assert_close(torch.tensor(again), torch.tensor(whole), rtol=0.02, atol=0)
    assert len(whole) == 7


def test_an_image_does_not_depend_on_the_batch_that_it_is_drawn_in():
    def drawn(numbers: list[int]) -> torch.Tensor:
        module, _ = prepared(len(numbers))
        return lab().sampling.sample(module, lab().engine.noise.streams(module, 0, numbers))[0].clone()

    together, alone = drawn([0, 1, 2, 3]), drawn([2])
    assert size(together[2] - alone[0]) < 0.01
    assert size(together[1] - alone[0]) > 0.1


def test_the_compiled_network_computes_what_it_computes_uncompiled():
    x, t = torch.randn(4, 3, 8, 8).to(DEVICE), torch.tensor([0, 3, 6, 9], device=DEVICE)
    outputs = []
    for compiled in (False, True):
        module, plan = prepared(4, compiled)
        assert plan.compiled == compiled
        with torch.no_grad():
            outputs.append(module.network(x, timestep=t).clone())
    assert size(outputs[0] - outputs[1]) < 0.01 * size(outputs[0])


def test_a_grading_with_the_card_has_the_verdicts_of_one_without(tmp_path: Path):
    wrong = write(LAB.room("task2.add_noise", "made_up").MISTAKES[0], tmp_path)
    rows = tuple(LAB.select(["task2.add_noise", "task2.step_noise"]))
    found = []
    for gpu in (False, True):
        order = Order(LAB, 1, LAB.policy(), rows, SandboxKind.NONE, gpu)
        (tmp_path / f"gpu-{gpu}").mkdir()
        result = grade_submission(wrong, order, tmp_path / f"gpu-{gpu}")
        assert result.environment["device"] == (DEVICE.type if gpu else "cpu")
        found.append([(row.id, row.verdict, row.points, row.diagnosis and row.diagnosis.id) for row in result.rows])
    assert found[0] == found[1]
    assert [verdict for _, verdict, _, _ in found[0]] == ["failed", "passed"]
