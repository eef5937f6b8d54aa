"""The rows that run the 2D lab as a whole: strip, loss curve, samples, and what is said about typical failures."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from grader.cli import main
from grader.judging.bench import Bench
from grader.judging.diagnosis import diagnose
from grader.lab import LAB, reference
from grader.lab.catalogue import mistakes
from grader.lab.reference import Schedule, step_tables
from grader.lab.rows.task1.training import judge as training
from grader.lab.rows.task1.training.judge import EVALUATED, TRAINING
from grader.lab.swiss_roll import chamfer_distance, swiss_roll
from grader.labs import RowKind
from grader.records import Row, Verdict
from grader.sandbox import Answer
from grader.tests.lab import load_half
from grader.tools import calibration
from grader.tools.builder import build, write

STEPS = TRAINING["steps"]
LIMITS = LAB.policy().training.model_copy(update={"chamfer_full": 20.0, "chamfer_part": 60.0, "chamfer_band": 0.25})
POLICY = LAB.policy().model_copy(update={"training": LIMITS})


def falling(to, noise=0.03):
    """A loss curve from 1 to `to` with the jitter of a mean over 128 samples."""
    rng = np.random.default_rng(1)
    return to + (1 - to) * np.exp(-np.arange(STEPS) / 150) + noise * rng.standard_normal(STEPS)


def posterior_noise(schedule, points, x, t):
    """The best guess of the noise in x (n, 2) at t (n,), given that the data are these points (m, 2)."""
    guess = np.empty(x.shape)
    for part in np.array_split(np.arange(len(x)), max(1, len(x) // 128)):
        ab = schedule.ab[t[part]][:, None]
        away = (x[part] ** 2).sum(1)[:, None] - 2 * np.sqrt(ab) * (x[part] @ points.T) + ab * (points**2).sum(1)
        weight = np.exp((away.min(1, keepdims=True) - away) / (2 * (1 - ab)))
        mean = weight @ points / weight.sum(1, keepdims=True)
        guess[part] = (x[part] - np.sqrt(ab) * mean) / np.sqrt(1 - ab)
    return guess


class Trained:
    """Answers as a worker would whose training ended with these losses, and whose chain leads to these points.

    The network answers with `share` of the best guess of the noise; while points are drawn, with the noise that leads
    there. Steps add `sigma` of the posterior's deviation; the first `skipped` of them are left out.
    """

    def __init__(self, losses, points, share=1.0, skipped=0, sigma=1.0, start=1.0, target="noise"):
        self.target = target  # of the network's answer
        self.losses, self.points, self.share, self.skipped, self.sigma = losses, points, share, skipped, sigma
        self.start = start  # standard deviation of the first x
        self.rng, self.planned, self.renewed = np.random.default_rng(5), None, False

    def call(self, half, probe, params, arrays, timeout_s=None, asks=None):
        if probe == "train":
            self.seen = arrays["x0"].astype(float)
            self.schedule = Schedule.linear(params["T"], params["beta_1"], params["beta_T"])
            return Answer({}, {"losses": np.asarray(self.losses, dtype=float), "weight.w": np.zeros(1, np.float32)})
        if probe == "hold":
            assert self.renewed, "the process that holds the network has seen the data"
            assert set(arrays) == {"weight.w"}
            return Answer({})
        if probe == "predict":
            if self.planned is not None:
                return Answer({}, {"out": self.planned})
            guess = posterior_noise(self.schedule, self.seen, arrays["x"].astype(float), arrays["t"].astype(int))
            if self.target == "x0":
                ab = self.schedule.ab[arrays["t"].astype(int)][:, None]
                guess = (arrays["x"] - np.sqrt(1 - ab) * guess) / np.sqrt(ab)
            return Answer({}, {"out": (self.share * guess).astype(np.float32)})
        assert probe == "sample"
        assert not arrays, "the process that draws the points gets nothing"
        return Answer({}, {"points": self.drawn(asks)})

    def drawn(self, asks):
        points = np.asarray(self.points(self.seen) if callable(self.points) else self.points, dtype=float)
        if not np.isfinite(points).all() or points.shape != (EVALUATED, 2):
            return points.astype(np.float32)
        x = (self.start * self.rng.standard_normal(points.shape)).astype(np.float32)
        right = step_tables(self.schedule, self.target, "posterior")
        for t in reversed(range(self.schedule.T - self.skipped)):
            ab = self.schedule.ab[t]
            eps = (x - np.sqrt(ab) * points) / np.sqrt(1 - ab)
            self.planned = (points if self.target == "x0" else eps).astype(np.float32)
            asks.answer({"form": "[B]", "dtype": "int64"}, {"x": x, "t": np.full(len(x), t, np.float32)})
            z = self.rng.standard_normal(points.shape)
            x = (right.a[t] * x + right.b[t] * self.planned + self.sigma * right.sigma[t] * z).astype(np.float32)
        self.planned = None
        return x

    def renew(self):
        self.renewed = True

    @contextmanager
    def beside(self):
        yield self


class QSample:
    """A q_sample with chosen coefficients (of x_0, of the noise) as functions of alpha-bar."""

    def __init__(self, signal=np.sqrt, spread=lambda ab: np.sqrt(1 - ab)):
        self.signal, self.spread = signal, spread

    def call(self, half, probe, params, arrays, timeout_s=None, asks=None):
        ab = Schedule.linear(params["T"], params["beta_1"], params["beta_T"]).ab[arrays["t"]][:, None]
        noise = np.random.default_rng(params["seed"]).standard_normal(arrays["x0"].shape)
        return Answer({}, {"xt": (self.signal(ab) * arrays["x0"] + self.spread(ab) * noise).astype(np.float32)})


def judged(row_id, sandbox, seed=0):
    return LAB.judge(row_id)(Bench(sandbox, "task1", np.random.default_rng(seed), POLICY))


def row_of(row_id, sandbox, seed=0):
    judgement = judged(row_id, sandbox, seed)
    found = diagnose(LAB.misconceptions(row_id), judgement.observations)
    return Row.from_checks(row_id, 10, judgement.checks), [diagnosis.id for diagnosis in found]


def near_the_data(spread):
    rng = np.random.default_rng(9)
    return lambda seen: rng.permutation(seen)[:EVALUATED] + spread * rng.standard_normal((EVALUATED, 2))


@pytest.fixture(autouse=True)
def few_points_for_the_loss(monkeypatch):
    monkeypatch.setattr(training, "MEASURED", 512)


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


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_a_good_training_earns_all_points(sigma):
    row, _ = row_of("task1.training", Trained(falling(0.317), near_the_data(0.01), sigma=sigma))
    assert (row.verdict, row.points) == (Verdict.PASSED, 10), row.message


@pytest.mark.parametrize(
    ("losses", "diagnosis"),
    [
        (np.ones(STEPS) + 0.03 * np.random.default_rng(0).standard_normal(STEPS), "curve-flat-at-one"),
        (2 + 0.05 * np.random.default_rng(0).standard_normal(STEPS), "curve-flat-at-two"),
        (falling(0.02, 0.001), "curve-falls-to-zero"),
        (falling(0.45), "curve-time-ignored"),
        (falling(0.31), "curve-not-the-networks"),
        (np.where(np.arange(STEPS) < 100, 0.9, np.nan), "curve-not-finite"),
        (4.0 + 0.2 * np.random.default_rng(0).standard_normal(STEPS), "curve-at-the-datas-variance"),
        (0.62 + 0.9 * np.random.default_rng(0).random(STEPS) ** 4 * 2, "curve-noisy-plateau"),
        (falling(0.7), "curve-too-high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "curve",
)
def test_a_typical_bad_curve_is_named(losses, diagnosis):
    row, found = row_of("task1.training", Trained(losses, near_the_data(0.01), share=0.5))
    assert row.verdict is Verdict.FAILED
    assert row.points == 5
    assert found[0] == diagnosis


def test_a_curve_is_no_evidence():
    """A right network earns its points whatever compute_loss returned, and a wrong one earns none."""
    judgement = judged("task1.training", Trained(falling(3.02), near_the_data(0.01)))
    assert [check.points for check in judgement.checks] == [5, 5]
    assert "compute_loss ended at 3." in judgement.remarks[0]
    judgement = judged("task1.training", Trained(falling(0.317), near_the_data(0.01), share=0.0))
    assert [check.points for check in judgement.checks] == [0, 0]
    assert "a network that predicts the noise" in judgement.checks[1].message


@pytest.mark.parametrize(
    ("points", "how", "verdict", "earned", "diagnosis"),
    [
        (near_the_data(0.19), {}, Verdict.PARTIAL, 7.5, "samples-network-weak"),
        (near_the_data(0.14), {"skipped": 10}, Verdict.NEEDS_REVIEW, 0, None),
        (near_the_data(0.4), {"skipped": 10}, Verdict.FAILED, 5, "samples-blurred"),
        (near_the_data(0.4), {"sigma": 0.5}, Verdict.FAILED, 5, "samples-step-noise"),
        (np.zeros((EVALUATED, 2)), {"skipped": 10}, Verdict.FAILED, 5, "samples-collapsed"),
        (2 * np.random.default_rng(0).standard_normal((EVALUATED, 2)), {}, Verdict.FAILED, 5, "samples-network-weak"),
        (
            2 * np.random.default_rng(0).standard_normal((EVALUATED, 2)),
            {"skipped": 10},
            Verdict.FAILED,
            5,
            "samples-elsewhere",
        ),
        (np.full((EVALUATED, 2), np.nan), {}, Verdict.FAILED, 5, "curve-not-finite"),
    ],
    ids=["blurred", "leaps", "blurred-leaps", "noise", "collapsed", "elsewhere", "elsewhere-leaps", "nan"],
)
def test_bad_samples_are_told_apart(points, how, verdict, earned, diagnosis):
    row, found = row_of("task1.training", Trained(falling(0.317), points, **how))
    assert (row.verdict, row.points) == (verdict, earned), row.message
    assert diagnosis is None or found[0] == diagnosis


@pytest.mark.parametrize(("limit", "points"), [("chamfer_full", 5), ("chamfer_part", 2.5)])
def test_just_above_a_limit_a_person_is_asked(limit, points, monkeypatch):
    for factor, verdict in ((0.95, None), (1.1, Verdict.NEEDS_REVIEW), (1 + LIMITS.chamfer_band + 0.05, None)):
        distance = factor * getattr(LIMITS, limit)
        monkeypatch.setattr(training, "chamfer_distance", lambda *_, distance=distance: distance)
        check = judged("task1.training", Trained(falling(0.317), near_the_data(0.01))).checks[1]
        if verdict:
            assert check.verdict is verdict
        else:
            assert check.points == (points if factor < 1 else points - 2.5)


def test_a_start_that_is_no_noise_waits_for_a_person():
    row, _ = row_of("task1.training", Trained(falling(0.317), near_the_data(0.01), start=0.9))
    assert row.verdict is Verdict.NEEDS_REVIEW
    assert "the start does not look like N(0, I): standard deviation" in row.message


@pytest.mark.parametrize(("share", "verdict"), [(1.0, Verdict.NEEDS_REVIEW), (-1.0, Verdict.FAILED)])
def test_a_network_that_predicts_x0_waits_for_a_person(share, verdict):
    """Where it does predict x_0; one that hands out points, whatever x_t is, earns nothing."""
    sandbox = Trained(falling(0.317), near_the_data(0.01), target="x0", share=share)
    check = judged("task1.training", sandbox).checks[1]
    assert (check.verdict, check.points) == (verdict, 0)
    assert "the steps take the network's answer for x_0" in check.message


def test_samples_of_another_shape_say_so():
    row, _ = row_of("task1.training", Trained(falling(0.317), np.zeros((7, 2))))
    assert "shape (7, 2)" in row.message


def test_the_strips_moments_are_those_of_the_closed_form():
    """What the judge expects, from the definition: the mean and variance of sqrt(ab) x_0 + sqrt(1 - ab) eps."""
    s, rng = Schedule.linear(1000, 1e-4, 0.02), np.random.default_rng(0)
    x0 = swiss_roll(200_000, rng).astype(float)
    xt = reference.q_sample(s, x0, np.full(len(x0), 300), rng.standard_normal(x0.shape))
    assert np.allclose(xt.var(0), s.ab[300] * x0.var(0) + 1 - s.ab[300], rtol=0.02)


def test_the_limits_hold_for_the_stored_readings():
    assert calibration.main(["--check"]) == 0


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
