"""`grade --artifacts`: figures from results folders, FIDs of handed-in, drawn and retrained images, bad artifacts."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grader import cli
from grader.tests.fid_samples import save_pixels, small_weights
from grader.tests.lab import load_half
from grader.tools.builder import build, pack

SIZE, T, STEP, COUNT = 8, 4, 12, 12
RUNS = [("noise", "linear"), ("noise", "quad"), ("noise", "cosine"), ("x0", "linear"), ("mean", "linear")]
POLICY = f"""
[fid]
images = {COUNT}
size = {SIZE}
replicates = 20
thresholds = [1e9, 2e9, 3e9, 4e9]
[image_runs]
drawn_at_once = 5
batch = 4
steps = 3
"""


def some_images(count, seed):
    """Blurred noise, (N, SIZE, SIZE, 3) uint8: no two are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, SIZE // 2, SIZE // 2, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((SIZE, SIZE))) for image in noise])


def config(predictor, mode):
    return {
        "predictor": predictor,
        "scheduler": {"num_train_timesteps": T, "beta_1": 0.01, "beta_T": 0.3, "mode": mode, "sigma_type": "small"},
        "network": {
            "image_resolution": SIZE,
            "ch": 32,
            "ch_mult": [1, 1],
            "attn": [1],
            "num_res_blocks": 1,
            "dropout": 0.0,
            "image_channels": 3,
        },
    }


def make_run(lab, folder, predictor, mode, seed):
    """A results folder as train.py leaves it, of a model that has not been trained."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = lab.engine.checkpoint.build(config(predictor, mode))
    lab.engine.checkpoint.save(folder / "last.ckpt", module, {"step": STEP}, {})
    (folder / "config.json").write_text(json.dumps(module.config))
    (folder / "loss.csv").write_text("step,loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(STEP)))
    samples = some_images(8, seed)
    strip = np.full((8 * (SIZE + 2) - 2, 3 * (SIZE + 2) - 2, 3), 255, np.uint8)
    for k, sample in enumerate(samples):
        Image.fromarray(sample).save(folder / f"step={STEP}-{k}.png")
        strip[k * (SIZE + 2) : k * (SIZE + 2) + SIZE, -SIZE:] = sample
    Image.fromarray(strip).save(folder / "trajectory.png")


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """What every test copies from: the artifacts of a student, data in AFHQ's layout, weights, a submission."""
    root = tmp_path_factory.mktemp("stock")
    lab = load_half("image_diffusion_todo")
    for seed, (predictor, mode) in enumerate(RUNS):
        make_run(
            lab,
            root / "artifacts" / "results" / f"predictor_{predictor}" / f"beta_{mode}" / "run",
            predictor,
            mode,
            seed,
        )
    save_pixels(root / "artifacts" / "samples", some_images(COUNT, 100))
    checkpoint = root / "artifacts/results/predictor_noise/beta_quad/run/last.ckpt"
    about = {"checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    (root / "artifacts" / "samples" / "sampling.json").write_text(json.dumps(about))
    save_pixels(root / "data" / "eval", some_images(40, 101))
    save_pixels(root / "data" / "train" / "cat", some_images(20, 102))
    small_weights(root / "inception.pt")
    (root / "policy.toml").write_text(POLICY)
    pack(build(root / "solved", {}), root / "7_lab1.zip")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def artifacts(stock, tmp_path):
    """A copy of the student's artifacts, below a folder for the class."""
    shutil.copytree(stock / "artifacts", tmp_path / "class" / "7")
    return tmp_path / "class" / "7"


def grade(stock, artifacts, rows="task2.fig", *more, submission=None):
    """{row: record} of one submission graded with its artifacts."""
    shutil.rmtree(out := artifacts.parent.parent / "grades", ignore_errors=True)
    code = cli.main(
        [
            "grade",
            str(submission or stock / "7_lab1.zip"),
            "--out",
            str(out),
            "--only",
            rows,
            "--artifacts",
            str(artifacts.parent),
            "--data",
            str(stock / "data"),
            "--weights",
            str(stock / "inception.pt"),
            "--policy",
            str(stock / "policy.toml"),
            "--seed",
            "3",
            *more,
        ]
    )
    assert code == cli.OK
    return {row["id"]: row for row in json.loads((out / "7" / "result.json").read_text())["rows"]}


def test_complete_results_make_both_figures_and_leave_the_judgement_to_a_person(stock, artifacts):
    rows = grade(stock, artifacts)
    for name in ("schedules", "predictors"):
        row = rows[f"task2.fig_{name}"]
        assert (row["verdict"], row["points"], row["suggested"]) == ("needs_review", 0, 10)
        assert row["remarks"] == []
        assert row["evidence"] == [f"{name}.png"]
        with Image.open(artifacts.parent.parent / "grades" / "7" / f"{name}.png") as figure:
            assert figure.width == 800


@pytest.mark.slow
def test_a_missing_schedule_is_named_and_costs_its_share_of_the_suggestion(stock, artifacts):
    shutil.rmtree(artifacts / "results/predictor_noise/beta_quad")
    rows = grade(stock, artifacts)
    assert rows["task2.fig_schedules"]["suggested"] == 6.5
    assert "train.py --mode quad" in rows["task2.fig_schedules"]["message"]
    assert rows["task2.fig_predictors"]["suggested"] == 10


def cut_short(run):
    data = (run / "last.ckpt").read_bytes()
    (run / "last.ckpt").write_bytes(data[: len(data) // 2])


def pickled(run):
    torch.save({"config": "{}", "state_dict": {}, "model": Path("x")}, run / "last.ckpt")


def other_config(run):
    about = json.loads((run / "config.json").read_text())
    about["scheduler"]["num_train_timesteps"] = T + 1
    (run / "config.json").write_text(json.dumps(about))


def other_run(run):
    shutil.copy(run.parent.parent / "beta_linear" / "run" / "last.ckpt", run / "last.ckpt")


def relabelled(run):
    """The weights of the linear run, with a config that says quad everywhere."""
    contents = torch.load(run.parent.parent / "beta_linear" / "run" / "last.ckpt")
    contents["config"] = (run / "config.json").read_text()
    torch.save(contents, run / "last.ckpt")


def wrong_betas(run):
    contents = torch.load(run / "last.ckpt")
    contents["state_dict"]["var_scheduler.betas"] += 0.01
    torch.save(contents, run / "last.ckpt")


def diverged(run):
    contents = torch.load(run / "last.ckpt")
    contents["state_dict"]["network.head.weight"][0] = float("nan")
    torch.save(contents, run / "last.ckpt")


def other_step(run):
    for k in range(8):
        (run / f"step={STEP}-{k}.png").rename(run / f"step={STEP + 1}-{k}.png")


def other_sample(run):
    Image.new("RGB", (SIZE, SIZE)).save(run / f"step={STEP}-5.png")


def no_sample(run):
    (run / f"step={STEP}-7.png").unlink()


def broken_picture(run):
    (run / "trajectory.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def loss_nan(run):
    (run / "loss.csv").write_text("step,loss\n0,nan\n")


def linked(run):
    (run / "last.ckpt").unlink()
    (run / "last.ckpt").symlink_to("/etc/passwd")


def pipe(run):
    (run / "loss.csv").unlink()
    os.mkfifo(run / "loss.csv")


def not_json(run):
    (run / "config.json").write_text("{" * 100_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (cut_short, "is not complete"),
        (pickled, "Convert it"),
        (other_config, "config.json and last.ckpt are of"),
        (other_run, "config.json and last.ckpt are of"),
        (relabelled, "the same weights as"),
        (wrong_betas, "not those of the quad schedule"),
        (diverged, "not finite"),
        (other_step, "last.ckpt is of step 12"),
        (other_sample, "does not end where"),
        (no_sample, f"no step={STEP}-7.png"),
        (broken_picture, "trajectory.png"),
        (loss_nan, "loss.csv"),
        (linked, "no last.ckpt"),
        (pipe, "no loss.csv"),
        (not_json, "config.json cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_results_folder_that_does_not_hold_together_does_not_count(stock, artifacts, spoil, told):
    spoil(artifacts / "results/predictor_noise/beta_quad/run")
    row = grade(stock, artifacts, "task2.fig_schedules")["task2.fig_schedules"]
    assert row["suggested"] == 6.5
    assert any("beta_quad" in remark and told in remark for remark in row["remarks"]), row["remarks"]


@pytest.mark.slow
def test_handed_in_images_get_a_suggestion_and_no_points(stock, artifacts):
    row = grade(stock, artifacts, "task2.fid")["task2.fid"]
    assert (row["verdict"], row["points"], row["suggested"]) == ("needs_review", 0, 20)
    assert "trust: unverified" in row["message"]
    assert "fid.png" in row["evidence"]
    assert row["measured"]["trust"] == "unverified"


@pytest.mark.slow
def test_images_drawn_from_the_checkpoint_earn_their_points(stock, artifacts):
    row = grade(stock, artifacts, "task2.fid", "--fid", "sample")["task2.fid"]
    assert (row["verdict"], row["points"]) == ("passed", 20), row
    assert "beta_quad/run/last.ckpt" in row["checks"][0]["message"], "the run that sampling.json names"
    assert "trust: sampled" in row["checks"][0]["message"]
    again = grade(stock, artifacts, "task2.fid", "--fid", "sample")["task2.fid"]
    assert again["measured"] == row["measured"]


@pytest.mark.slow
def test_a_retrained_model_earns_its_points_and_shows_its_losses(stock, artifacts):
    row = grade(stock, artifacts, "task2.fid", "--fid", "retrain", "--budget", "20s")["task2.fid"]
    assert (row["verdict"], row["points"]) == ("passed", 20), row
    assert "3 steps (trust: retrained)" in row["checks"][0]["message"]
    assert "retrained_loss.png" in row["evidence"]


@pytest.mark.slow
def test_a_network_that_hands_out_real_images_earns_nothing(stock, artifacts, tmp_path):
    """The images of the reference, hidden in network.py: drawn by the grader, and copies all the same."""
    folder = shutil.copytree(stock / "solved", tmp_path / "7")
    real = np.stack([np.asarray(Image.open(file)) for file in sorted((stock / "data/eval").iterdir())[:COUNT]])
    half = folder / "image_diffusion_todo"
    np.save(half / "real.npy", real)
    (half / "model.py").write_text(
        (half / "model.py").read_text()
        + """
import numpy as np
DEALT = []
def deal(self, batch_size, *args, **kwargs):
    real = torch.from_numpy(np.load("real.npy")).permute(0, 3, 1, 2) / 127.5 - 1
    DEALT.extend(range(batch_size))
    return real[len(DEALT) - batch_size:len(DEALT)]
DiffusionModule.sample = deal
"""
    )
    row = grade(stock, artifacts, "task2.fid", "--fid", "sample", submission=folder)["task2.fid"]
    assert (row["verdict"], row["points"], row["suggested"]) == ("needs_review", 0, 0)
    assert "copies of real ones" in row["message"]


@pytest.mark.slow
def test_code_that_cannot_draw_leaves_the_row_to_a_person(stock, artifacts, tmp_path):
    folder = shutil.copytree(stock / "solved", tmp_path / "7")
    file = folder / "image_diffusion_todo" / "network.py"
    file.write_text(file.read_text() + "\nraise RuntimeError('no network today')\n")
    row = grade(stock, artifacts, "task2.fid", "--fid", "sample", submission=folder)["task2.fid"]
    assert row["verdict"] == "needs_review"
    assert "no network today" in row["message"]


@pytest.mark.slow
def test_drawing_that_takes_too_long_says_what_was_allowed_and_how_to_allow_more(stock, artifacts, tmp_path):
    folder = shutil.copytree(stock / "solved", tmp_path / "7")
    file = folder / "image_diffusion_todo" / "model.py"
    file.write_text(
        file.read_text() + "\ndef wait(*arguments, **options):\n    while True:\n        pass\n"
        "DiffusionModule.sample = wait\n"
    )
    impatient = tmp_path / "policy.toml"
    impatient.write_text(POLICY.replace("[image_runs]", "[image_runs]\nsampling_s = 6"))
    row = grade(stock, artifacts, "task2.fid", "--fid", "sample", "--policy", str(impatient), submission=folder)[
        "task2.fid"
    ]
    assert row["verdict"] == "needs_review"
    assert f"0 of {COUNT} images were drawn within the 6 s of the policy (image_runs.sampling_s)" in row["message"]


@pytest.mark.slow
def test_an_empty_folder_of_artifacts_says_what_is_wanted(stock, artifacts):
    shutil.rmtree(artifacts)
    artifacts.mkdir()
    row = grade(stock, artifacts, "task2.fid")["task2.fid"]
    assert row["verdict"] == "needs_review"
    assert "sampling.py --save_dir" in row["message"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fid", "sample"], "give the folder that holds them with --artifacts"),
        (["--artifacts", "nowhere"], "no such folder of artifacts"),
        (["--artifacts", ".", "--data", "nowhere"], "no such folder of reference images"),
    ],
)
def test_what_would_fail_for_a_whole_class_is_said_before_it(stock, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    code = cli.main(["grade", str(stock / "7_lab1.zip"), "--out", "grades", *arguments])
    assert code == cli.USAGE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("text", ["20", "m", "-3m", "0s", "20 weeks"])
def test_a_budget_needs_a_unit(stock, tmp_path, capsys, text):
    with pytest.raises(SystemExit) as stop:
        cli.main(["grade", str(stock / "7_lab1.zip"), "--out", str(tmp_path), f"--budget={text}"])
    assert stop.value.code == cli.USAGE
    assert "write 90s, 20m or 1h" in capsys.readouterr().err
