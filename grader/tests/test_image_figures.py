"""figures.py: the report's three figures from results folders, and what it says of folders it cannot use."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from grader.tests.lab import load_half

SIZE = 8


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


def make_results(root, predictor="noise", mode="linear", name="09-05-201510", step=40):
    """A folder as train.py leaves it, its samples of one grey value so that they can be found in a figure."""
    folder = root / f"predictor_{predictor}" / f"beta_{mode}" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "predictor": predictor,
                "scheduler": {"mode": mode, "num_train_timesteps": 10},
                "network": {"image_resolution": SIZE},
            }
        )
    )
    (folder / "last.ckpt").write_bytes(b"figures need no weights")
    losses = "".join(f"{i},{1 / (i + 1)}\n" for i in range(step))
    (folder / "loss.csv").write_text("step,loss\n" + losses)
    for k in range(8):
        Image.new("RGB", (SIZE, SIZE), (10 * k, 0, 0)).save(folder / f"step={step}-{k}.png")
    Image.new("RGB", (10 * (SIZE + 2) - 2, 8 * (SIZE + 2) - 2)).save(folder / "trajectory.png")
    return folder


def make_all(root):
    for mode in ("linear", "quad", "cosine"):
        make_results(root, "noise", mode)
    for predictor in ("x0", "mean"):
        make_results(root, predictor, "linear")


@pytest.fixture
def run(lab, tmp_path, monkeypatch, capsys):
    def figures(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["figures.py", str(tmp_path / "results"), "--out", str(tmp_path / "out"), *arguments]
        )
        code = lab.engine.errors.run_script(lab.figures.main)
        return code, *capsys.readouterr()

    return figures


def test_five_runs_make_the_three_figures(run, tmp_path):
    make_all(tmp_path / "results")
    code, out, err = run()
    assert (code, err) == (0, "")
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in out.splitlines()] == [
        "schedules.png",
        "predictors.png",
        "losses.png",
    ]
    assert "losses.png: 5 runs" in out
    for name in ("schedules", "predictors", "losses"):
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert picture.std() > 1
    reds = np.asarray(Image.open(tmp_path / "out" / "predictors.png").convert("RGB")).reshape(-1, 3)
    assert {(10 * k, 0, 0) for k in range(1, 8)} <= set(map(tuple, reds[:, :3].tolist()))


def test_settings_without_results_are_named_with_the_command(run, tmp_path):
    make_results(tmp_path / "results")
    code, out, err = run()
    assert code == 0
    assert err.splitlines() == [
        "missing: python train.py --predictor noise --mode quad",
        "missing: python train.py --predictor noise --mode cosine",
        "missing: python train.py --predictor x0 --mode linear",
        "missing: python train.py --predictor mean --mode linear",
    ]
    assert "losses.png: 1 runs" in out


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("config.json", "config.json: "),
        ("last.ckpt", "no last.ckpt: the run was stopped before its first checkpoint"),
        ("step=40-0.png", "no samples: go on with train.py --resume"),
        ("step=40-5.png", "no step=40-5.png"),
        ("trajectory.png", "no trajectory.png"),
        ("loss.csv", "loss.csv: "),
    ],
)
def test_a_folder_half_written_is_named_and_left_out(run, tmp_path, damage, reason):
    make_results(tmp_path / "results")
    half = make_results(tmp_path / "results", "noise", "quad")
    if damage == "config.json":
        (half / damage).write_text('{"predictor": "noi')
    else:
        (half / damage).unlink()
    code, out, err = run()
    assert code == 0
    assert f"left out {half}: {reason}" in err
    assert "quad" not in out


def test_a_broken_picture_and_an_empty_curve_are_reasons_too(run, tmp_path):
    make_results(tmp_path / "results")
    broken = make_results(tmp_path / "results", "noise", "quad")
    (broken / "step=40-3.png").write_bytes((broken / "step=40-3.png").read_bytes()[:40])
    empty = make_results(tmp_path / "results", "noise", "cosine")
    (empty / "loss.csv").write_text("step,loss\n")
    _, _, err = run()
    assert f"left out {broken}: step=40-3.png cannot be read" in err
    assert f"left out {empty}: loss.csv is empty" in err


def test_of_two_runs_the_later_one_counts_unless_it_is_incomplete(run, lab, tmp_path):
    first = make_results(tmp_path / "results", name="1")
    second = make_results(tmp_path / "results", name="2")
    third = make_results(tmp_path / "results", name="3")
    (third / "last.ckpt").unlink()
    found = lab.figures.find(tmp_path / "results")
    assert found["noise", "linear"].folder == second != first


def test_without_results_it_fails_and_says_so(run, tmp_path):
    code, _, err = run()
    assert code == 1
    assert f"no complete results folder in {tmp_path / 'results'}: train.py makes them" in err


def test_curves_are_cut_and_smoothed(lab, tmp_path):
    path = tmp_path / "loss.csv"
    lab.engine.curves.append(path, 0, [4.0, 2.0])
    lab.engine.curves.append(path, 2, [0.1, 7.0])
    lab.engine.curves.keep_before(path, 3)
    steps, losses = lab.engine.curves.read(path)
    assert steps.tolist() == [0, 1, 2]
    assert losses.tolist() == [4.0, 2.0, 0.1]
    np.testing.assert_allclose(lab.engine.curves.smooth(losses, 2), [4.0, 3.0, 1.05])
    path.write_text(path.read_text() + "3,0.")  # killed while it was writing
    lab.engine.curves.keep_before(path, 3)
    assert len(lab.engine.curves.read(path)[0]) == 3
