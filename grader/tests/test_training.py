"""The rows that run the 2D lab as a whole: strip, loss curve, samples, and what is said about typical failures."""

import json

import numpy as np
import pytest
import torch

from grader.cli import main
from grader.judging.bench import Bench
from grader.judging.diagnosis import diagnose
from grader.lab import LAB, reference
from grader.lab.catalogue import mistakes
from grader.lab.reference import Schedule
from grader.lab.rows.task1.training.judge import TRAINING
from grader.lab.settings import NOTEBOOK
from grader.lab.swiss_roll import chamfer_distance, swiss_roll
from grader.labs import RowKind
from grader.records import Row, Verdict
from grader.sandbox import Answer
from grader.tests.lab import load_half
from grader.tools.builder import build, write

STEPS = TRAINING["steps"]


def falling(to, noise=0.03):
    """A loss curve from 1 to `to` with the jitter of a mean over 128 samples."""
    rng = np.random.default_rng(1)
    return to + (1 - to) * np.exp(-np.arange(STEPS) / 150) + noise * rng.standard_normal(STEPS)


class Trained:
    """Answers as a worker would whose training ended with these losses and these samples."""

    def __init__(self, losses, points=None):
        self.losses, self.points, self.seen, self.renewed = losses, points, None, False

    def call(self, half, probe, params, arrays, timeout_s=None, asks=None):
        if probe == "train":
            self.seen = arrays["x0"]
            return Answer({}, {"losses": np.asarray(self.losses, dtype=float), "weight.w": np.zeros(1, np.float32)})
        assert probe == "sample"
        assert self.renewed, "the process that draws the points has seen the data"
        assert set(arrays) == {"weight.w"}
        points = self.points(self.seen) if callable(self.points) else self.points
        return Answer({}, {"points": np.asarray(points, dtype=np.float32)})

    def renew(self):
        self.renewed = True


class QSample:
    """A q_sample with chosen coefficients (of x_0, of the noise) as functions of alpha-bar."""

    def __init__(self, signal=np.sqrt, spread=lambda ab: np.sqrt(1 - ab)):
        self.signal, self.spread = signal, spread

    def call(self, half, probe, params, arrays, timeout_s=None, asks=None):
        ab = Schedule.linear(NOTEBOOK["T"], NOTEBOOK["beta_1"], NOTEBOOK["beta_T"]).ab[arrays["t"]][:, None]
        noise = np.random.default_rng(params["seed"]).standard_normal(arrays["x0"].shape)
        return Answer({}, {"xt": (self.signal(ab) * arrays["x0"] + self.spread(ab) * noise).astype(np.float32)})


def row_of(row_id, sandbox, seed=0):
    judgement = LAB.judge(row_id)(Bench(sandbox, "task1", np.random.default_rng(seed), LAB.policy()))
    found = diagnose(LAB.misconceptions(row_id), judgement.observations)
    return Row.from_checks(row_id, 10, judgement.checks), [diagnosis.id for diagnosis in found]


def on_the_roll(spread):
    rng = np.random.default_rng(9)
    return lambda seen: swiss_roll(2048, rng) + spread * rng.standard_normal((2048, 2))


def test_the_chamfer_distance_sums_squared_distances_both_ways():
    points, others = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 1.0], [3.0, 2.0], [10.0, 0.0]])
    assert chamfer_distance(points, others) == (1 + 4) + (1 + 4 + 49)
    assert chamfer_distance(points, points) == 0
    assert chamfer_distance(points, others * np.nan) == np.inf


def test_roll_and_distance_are_those_of_the_lab():
    lab = load_half("2d_plot_diffusion_todo")
    ours = swiss_roll(4000, np.random.default_rng(0))
    theirs = lab.dataset.make_points("swiss_roll", 4000)
    assert np.allclose(ours.mean(0), theirs.numpy().mean(0), atol=0.12)
    assert np.allclose(ours.std(0), theirs.numpy().std(0), rtol=0.04)
    assert chamfer_distance(ours[:1000].astype(float), theirs.numpy()[:1000].astype(float)) == pytest.approx(
        float(lab.chamfer.chamfer_distance(torch.tensor(ours[:1000]), theirs[:1000])), rel=1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_right_q_sample_earns_the_whole_strip(seed):
    row, _ = row_of("task1.fig_q_sample", QSample(), seed)
    assert (row.verdict, row.points) == (Verdict.PASSED, 10)


@pytest.mark.parametrize(
    ("sandbox", "points"),
    [
        (QSample(signal=lambda ab: ab), 1),
        (QSample(spread=lambda ab: 1 - ab), 0),
        (QSample(spread=lambda ab: 0 * ab), 0),
        (QSample(signal=lambda ab: np.ones_like(ab), spread=lambda ab: 0 * ab), 0),
    ],
    ids=["alpha-bar", "variance-as-deviation", "no-noise", "x0-unchanged"],
)
def test_a_wrong_q_sample_loses_the_panels_that_show_it(sandbox, points):
    row, found = row_of("task1.fig_q_sample", sandbox)
    assert row.verdict is Verdict.FAILED
    assert row.points <= points
    assert found == ["strip-moments"]


def test_a_good_training_earns_all_points():
    row, _ = row_of("task1.training", Trained(falling(0.317), on_the_roll(0.02)))
    assert (row.verdict, row.points) == (Verdict.PASSED, 10)


@pytest.mark.parametrize(
    ("losses", "diagnosis"),
    [
        (np.ones(STEPS) + 0.03 * np.random.default_rng(0).standard_normal(STEPS), "curve-flat-at-one"),
        (2 + 0.05 * np.random.default_rng(0).standard_normal(STEPS), "curve-flat-at-two"),
        (falling(0.02, 0.001), "curve-falls-to-zero"),
        (falling(0.45), "curve-time-ignored"),
        (np.where(np.arange(STEPS) < 100, 0.9, np.nan), "curve-not-finite"),
        (4.0 + 0.2 * np.random.default_rng(0).standard_normal(STEPS), "curve-at-the-datas-variance"),
        (0.62 + 0.9 * np.random.default_rng(0).random(STEPS) ** 4 * 2, "curve-noisy-plateau"),
        (falling(0.7), "curve-too-high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "curve",
)
def test_a_typical_bad_curve_is_named(losses, diagnosis):
    row, found = row_of("task1.training", Trained(losses, on_the_roll(0.02)))
    assert row.verdict is Verdict.FAILED
    assert row.points == 5
    assert found[0] == diagnosis


@pytest.mark.parametrize(
    ("points", "verdict", "earned", "diagnosis"),
    [
        (on_the_roll(0.16), Verdict.PARTIAL, 7.5, "samples-blurred"),
        (lambda seen: np.zeros((2048, 2)), Verdict.FAILED, 5, "samples-collapsed"),
        (lambda seen: 2 * np.random.default_rng(0).standard_normal((2048, 2)), Verdict.FAILED, 5, "samples-elsewhere"),
        (lambda seen: np.full((2048, 2), np.nan), Verdict.FAILED, 5, "curve-not-finite"),
    ],
    ids=["blurred", "collapsed", "elsewhere", "nan"],
)
def test_bad_samples_are_told_apart(points, verdict, earned, diagnosis):
    row, found = row_of("task1.training", Trained(falling(0.317), points))
    assert (row.verdict, row.points) == (verdict, earned)
    assert found[0] == diagnosis


def test_samples_that_repeat_the_training_data_wait_for_a_person():
    row, _ = row_of("task1.training", Trained(falling(0.317), lambda seen: seen[:2048]))
    assert row.verdict is Verdict.NEEDS_REVIEW
    assert (row.points, row.pending) == (0, 10)


def test_samples_of_another_shape_say_so():
    row, _ = row_of("task1.training", Trained(falling(0.317), np.zeros((7, 2))))
    assert "shape (7, 2)" in row.message


def test_the_strips_moments_are_those_of_the_closed_form():
    """What the judge expects, from the definition: the mean and variance of sqrt(ab) x_0 + sqrt(1 - ab) eps."""
    s, rng = Schedule.linear(1000, 1e-4, 0.02), np.random.default_rng(0)
    x0 = swiss_roll(200_000, rng).astype(float)
    xt = reference.q_sample(s, x0, np.full(len(x0), 300), rng.standard_normal(x0.shape))
    assert np.allclose(xt.var(0), s.ab[300] * x0.var(0) + 1 - s.ab[300], rtol=0.02)


@pytest.mark.slow
def test_the_solved_lab_trains_to_full_points_within_thirty_seconds_of_one_core(tmp_path):
    out = tmp_path / "out"
    assert main(["grade", str(build(tmp_path / "solved")), "--out", str(out), "--only", "task1.training"]) == 0
    row = json.loads((out / "solved" / "result.json").read_text())["rows"][0]
    assert (row["verdict"], row["points"]) == ("passed", 10), row["message"]
    assert row["evidence"] == ["loss_curve.png", "samples.png"]
    for name in row["evidence"]:
        assert (out / "solved" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("case", mistakes(RowKind.RUN), ids=lambda case: case.name)
def test_a_mistake_that_only_the_notebooks_T_shows_is_found(case, tmp_path):
    out = tmp_path / "out"
    assert main(["grade", str(write(case, tmp_path)), "--out", str(out), "--only", case.row]) == 0
    row = json.loads((out / case.name / "result.json").read_text())["rows"][0]
    assert (row["verdict"], row["points"], row["diagnosis"]["id"]) == (case.verdict, case.points, case.diagnosis)
