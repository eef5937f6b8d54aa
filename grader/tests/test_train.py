"""train.py: what it writes, that a stopped run goes on to the same numbers, and what it says when it cannot."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grader.tests.lab import SOLUTIONS, load_half
from grader.tests.test_dataset import make_afhq

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = [
    "--image_size",
    "8",
    "--ch",
    "32",
    "--ch_mult",
    "1",
    "2",
    "--num_res_blocks",
    "1",
    "--dropout",
    "0.1",
    "--num_diffusion_train_timesteps",
    "10",
    "--batch_size",
    "4",
    "--num_samples",
    "2",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


@pytest.fixture
def train(lab, tmp_path, monkeypatch):
    """Runs train.py on 12 images; returns the results folder."""
    afhq = make_afhq(tmp_path / "afhq")
    monkeypatch.setattr(lab.dataset, "CACHE", tmp_path / "cache")

    def run(*arguments, name="results"):
        data = ["--data_dir", str(afhq), "--results_dir", str(tmp_path / name)]
        options, contents = lab.engine.commands.training_options("", [*TINY, *data, *map(str, arguments)])
        return lab.train.train(options, contents)

    return run


def losses(folder):
    with open(folder / "loss.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    return [row["loss"] for row in rows]


def weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert list(a) == list(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_what_the_handout_names(train, tmp_path):
    folder = train("--train_num_steps", 3, "--mode", "quad", "--predictor", "x0")
    assert folder.parent == tmp_path / "results" / "predictor_x0" / "beta_quad"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "last.ckpt",
        "loss.csv",
        "loss.png",
        "step=3-0.png",
        "step=3-1.png",
        "trajectory.png",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["predictor"] == "x0"
    assert config["scheduler"]["mode"] == "quad"
    assert config["options"]["batch_size"] == 4
    assert len(losses(folder)) == 3


def test_the_strip_ends_at_the_samples(train):
    folder = train("--train_num_steps", 1)
    strip = np.asarray(Image.open(folder / "trajectory.png"))
    assert strip.shape == (2 * 10 - 2, 10 * 10 - 2, 3)  # two images of 8 pixels, ten frames, lines of 2 in between
    for k in range(2):
        assert (strip[10 * k : 10 * k + 8, -8:] == np.asarray(Image.open(folder / f"step=1-{k}.png"))).all()


def test_the_defaults_are_the_handout_s(lab):
    options, _ = lab.engine.commands.training_options("", [])
    assert (options.image_size, options.batch_size, options.lr, options.warmup_steps) == (64, 16, 2e-4, 200)
    assert (options.train_num_steps, options.num_diffusion_train_timesteps) == (100_000, 1000)
    assert (options.beta_1, options.beta_T, options.mode, options.predictor) == (1e-4, 0.02, "linear", "noise")
    network = lab.train.make_module(options, torch.device("meta")).network
    assert sum(parameter.numel() for parameter in network.parameters()) == 58_753_283


@pytest.mark.parametrize("extra", [[], ["--ema", "0.9"], ["--plain", "--workers", "0"]])
def test_a_resumed_run_gives_the_same_numbers(train, extra):
    whole = train("--train_num_steps", 7, "--sample_every", 2, *extra, name="whole")
    part = train("--train_num_steps", 4, *extra, name="part")
    again = train("--resume", part, "--train_num_steps", 7, *extra)
    assert again == part
    assert losses(part) == losses(whole)
    assert_same_weights(part, whole)
    for k in range(2):
        assert (part / f"step=7-{k}.png").read_bytes() == (whole / f"step=7-{k}.png").read_bytes()


def test_without_ema_there_are_no_averaged_weights(train):
    assert "ema" not in torch.load(train("--train_num_steps", 1) / "last.ckpt", weights_only=True)
    both = torch.load(train("--train_num_steps", 2, "--ema", name="b") / "last.ckpt", weights_only=True)
    assert set(both["ema"]) == {name.removeprefix("network.") for name in both["state_dict"] if "network" in name}


def test_a_checkpoint_holds_tensors_and_json_only_and_the_model_reads_it(lab, train):
    folder = train("--train_num_steps", 2, "--predictor", "mean")
    contents = torch.load(folder / "last.ckpt", weights_only=True)
    assert json.loads(contents["training"])["step"] == 2
    options, _ = lab.engine.commands.training_options("", [*TINY, "--predictor", "mean"])
    module = lab.train.make_module(options, torch.device("cpu"))
    module.load(folder / "last.ckpt")
    assert torch.equal(module.network.head.weight, contents["state_dict"]["network.head.weight"])


def test_another_run_s_settings_do_not_resume(lab, train):
    folder = train("--train_num_steps", 1)
    for arguments, said in [
        (("--mode", "cosine"), "has --mode linear, and cosine was asked for: leave --mode out"),
        (("--batch_size", 8), "has --batch_size 4, and 8 was asked for"),
    ]:
        with pytest.raises(lab.engine.errors.LabError, match=said):
            train("--resume", folder, *arguments)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_checkpoint_is_named(lab, train, keep):
    folder = train("--train_num_steps", 1)
    data = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(
        lab.engine.errors.LabError, match=r"last.ckpt \(.* MB\) is not complete: its copy or download stopped"
    ):
        train("--resume", folder)


def test_a_checkpoint_with_code_in_it_is_refused_with_the_way_out(lab, tmp_path):
    torch.save({"config": "{}", "model": Path("x")}, tmp_path / "last.ckpt")
    with pytest.raises(lab.engine.errors.LabError, match=r"can run code. Save model.state_dict\(\)"):
        lab.engine.checkpoint.read(tmp_path / "last.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "last.ckpt")
    with pytest.raises(lab.engine.errors.LabError, match="lacks the JSON text 'config'"):
        lab.engine.checkpoint.read(tmp_path / "last.ckpt")
    with pytest.raises(lab.engine.errors.LabError, match=r"other.ckpt is no file; .*last.ckpt is there"):
        lab.engine.checkpoint.read(tmp_path / "other.ckpt")


def test_a_full_disk_leaves_the_checkpoint_before(lab, train, monkeypatch, capsys):
    folder = train("--train_num_steps", 2)
    before = (folder / "last.ckpt").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lab.engine.images.os, "fsync", full)
    assert lab.engine.errors.run_script(lambda: train("--resume", folder, "--train_num_steps", 3)) == 1
    assert "No space left on device. The disk or your quota is full: make room" in capsys.readouterr().err
    assert (folder / "last.ckpt").read_bytes() == before
    assert not list(folder.glob(".*"))


def test_a_disk_that_fills_up_while_torch_writes_is_a_full_disk(lab, train, tmp_path, monkeypatch):
    """torch.save turns the error of the file into one of its own."""
    folder = train("--train_num_steps", 1)

    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 10_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(lab.engine.checkpoint, "write_atomically", lambda path, write: write(Full()))
    with pytest.raises(OSError, match="No space left"):
        train("--resume", folder, "--train_num_steps", 2)


def test_a_loss_that_is_no_number_stops_the_run(lab, train, monkeypatch):
    monkeypatch.setattr(lab.model.F, "mse_loss", lambda a, b: (a - b).mean() * float("nan"))
    with pytest.raises(lab.engine.errors.LabError, match="the loss is not finite any more, between steps 0 and 2"):
        train("--train_num_steps", 2)


def test_impossible_options_are_errors(lab, train):
    error = lab.engine.errors.LabError
    with pytest.raises(error, match="no such U-Net: image_resolution 9 cannot be halved 1 times"):
        train("--image_size", 9)
    with pytest.raises(error, match="--batch_size 0: at least 1 is needed"):
        train("--batch_size", 0)
    with pytest.raises(error, match="--plain keeps no averaged weights"):
        train("--plain", "--ema")
    with pytest.raises(error, match="cuda:9 was asked for"):
        train("--device", "cuda:9")


def test_fewer_timesteps_still_end_in_noise(lab):
    options, _ = lab.engine.commands.training_options("", ["--num_diffusion_train_timesteps", "100"])
    scheduler = lab.train.make_module(options, torch.device("meta")).var_scheduler
    assert options.beta_T == pytest.approx(0.2)
    assert scheduler.num_train_timesteps == 100
    assert lab.scheduler.BaseScheduler(100, options.beta_1, options.beta_T).alphas_cumprod[-1] < 1e-4


class Student:
    """A solved lab of its own in a folder, run as a student runs it, or until a signal comes in the midst of a step."""

    def __init__(self, root):
        self.folder = root / "image_diffusion_todo"
        shutil.copytree(
            SOLUTIONS / "image_diffusion_todo", self.folder, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
        make_afhq(root / "data" / "afhq")

    def run(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error", *map(str, arguments)],
            cwd=self.folder,
            text=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        return done.returncode, done.stderr

    def train_until(self, number, step, *arguments):
        """train.py, which gets the signal of this number in the midst of the step-th step that it does, from 1."""
        return self.run("-c", SIGNALLED.format(number=int(number), step=step), *arguments)

    def only_results(self):
        return next(self.folder.glob("results/*/*/*"))


SIGNALLED = """
import itertools, os, sys
import train
calls, get_loss = itertools.count(1), train.DiffusionModule.get_loss
def signalled(self, *arguments, **options):
    loss = get_loss(self, *arguments, **options)
    if next(calls) == {step}:
        os.kill(os.getpid(), {number})
    return loss
train.DiffusionModule.get_loss = signalled
sys.exit(train.errors.run_script(train.main))
"""


@pytest.mark.slow
def test_a_run_that_was_killed_or_interrupted_goes_on_to_the_same_losses(train, tmp_path):
    """SIGKILL, then Ctrl-C, then to the end; against a run that was left alone, to the last digit."""
    settings = ["--train_num_steps", 60, "--checkpoint_every", 30, "--num_samples", 1]
    whole = train(*settings)
    student = Student(tmp_path / "lab")
    code, _ = student.train_until(signal.SIGKILL, 45, *TINY, *settings)
    assert code == -signal.SIGKILL
    folder = student.only_results()
    assert len(losses(folder)) == 40  # ten more than the checkpoint knows

    code, err = student.train_until(signal.SIGINT, 10, "--resume", folder.relative_to(student.folder))
    assert code == 130
    assert "stopped after step 40. To go on: python train.py --resume results/predictor_noise/beta_linear/" in err
    assert len(losses(folder)) == 40

    code, err = student.run("train.py", "--resume", folder)
    assert code == 0, err
    assert losses(folder) == losses(whole)
    assert_same_weights(folder, whole)
