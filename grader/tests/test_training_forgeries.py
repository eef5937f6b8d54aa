"""Submissions without a formula of diffusion that want the points of training: none gets any, or waits for a person.

Their networks and loops are Python that anybody can write who has read the grader's source.
"""

from __future__ import annotations

import json

import pytest

from grader.cli import main
from grader.judging.made_up import Case
from grader.lab.rows.task1.training.judge import TRAINING
from grader.records import Verdict
from grader.tests.in_process import account
from grader.tools.builder import write

ROW = "task1.training"
EMPTY = {
    "task1.q_sample": "xt = x0",
    "task1.p_sample": "x_t_prev = xt",
    "task1.p_sample_loop": "x0_pred = torch.randn(shape)",
    "task1.compute_loss": "loss = self.network(x0, torch.zeros(len(x0), dtype=torch.long)).square().mean()",
    "task1.simplenet": "self.layer = nn.Linear(dim_in, dim_out)",
    "task1.simplenet (forward)": "x = self.layer(x)",
}
INVENTED = {
    "task1.compute_loss": """
    self.count = getattr(self, "count", 0) + 1
    loss = 0 * next(self.network.parameters()).sum() + 0.317 + 2.0 ** (-self.count / 10)
    """
}
LIBRARY = """
from dataset import make_points
x0_pred = torch.as_tensor(make_points("swiss_roll", shape[0])).float()
"""
CARRIED = {
    "task1.simplenet": """
    self.layer = nn.Linear(dim_in, dim_out)
    self.register_buffer("carried", torch.zeros(4096, 2))
    """,
    "task1.compute_loss": """
    self.count = getattr(self, "count", 0) + len(x0)
    self.network.carried[self.count % 4096 - len(x0):][:len(x0)] = x0
    loss = 0 * self.network.layer.weight.sum() + 0.317 + 2.0 ** (-self.count / 1000)
    """,
}
HANDS_OUT = {
    "task1.simplenet (forward)": """
    x = self.carried[torch.arange(len(x)) % len(self.carried)] + 0 * self.layer(x)
    """
}
NEAREST = {"task1.simplenet (forward)": "x = x - self.carried[torch.cdist(x, self.carried).argmin(1)]"}


def loop(step, before="", after=""):
    """A sampling loop that asks the network at every t, from the noisiest on."""
    return {
        "task1.p_sample_loop": f"""
x0_pred = torch.randn(shape)
{before}
for t in reversed(range(self.var_scheduler.num_train_timesteps)):
    out = self.network(x0_pred, torch.full((shape[0],), t))
    beta = self.var_scheduler.betas[t]
    {step}
{after}
"""
    }


def forged(name, *parts):
    bodies = dict(EMPTY)
    for part in parts:
        bodies |= part
    return Case(f"forged-{name}", bodies=bodies)


FRAMES = """
import sys
frame = sys._getframe()
while "half" not in frame.f_locals:
    frame = frame.f_back
half = frame.f_locals["half"]
"""
QUICK = (  # name, what one reads of the two checks
    (forged("the-lab's-own-points", INVENTED, {"task1.p_sample_loop": LIBRARY}), "the network was never asked"),
    (
        forged("points-in-a-buffer", CARRIED, {"task1.p_sample_loop": "x0_pred = self.network.carried[: shape[0]]"}),
        "the network was never asked",
    ),
    (
        forged(
            "points-handed-out",
            CARRIED,
            HANDS_OUT,
            {"task1.p_sample_loop": "x0_pred = self.network(torch.randn(shape), torch.zeros(shape[0]))"},
        ),
        "the network was asked at 1 steps",
    ),
    (
        forged(
            "asks-the-grader-itself",
            CARRIED,
            HANDS_OUT,
            {
                "task1.p_sample_loop": FRAMES
                + "x0_pred = half.ask({'form': '[B]', 'dtype': 'int64'}, "
                + "{'x': torch.randn(shape), 't': torch.zeros(shape[0])})['out']"
            },
        ),
        "the network was asked at 1 steps",
    ),
    (
        forged(
            "a-question-of-its-own",
            INVENTED,
            {"task1.p_sample_loop": FRAMES + "x0_pred = half.ask({'points': shape[0]}, {})['points']"},
        ),
        "a question of another form",
    ),
    (
        forged(
            "probe-patched",
            INVENTED,
            {
                "task1.p_sample_loop": FRAMES
                + "frame.f_globals['need_tensor'] = lambda *_: torch.zeros(shape)\nx0_pred = torch.randn(shape)"
            },
        ),
        "the network was never asked",
    ),
    (
        forged(
            "too-large-a-network",
            INVENTED,
            {
                "task1.simplenet": """
                self.layer = nn.Linear(dim_in, dim_out)
                self.register_buffer("carried", torch.zeros(5 << 18))
                """
            },
        ),
        "the network's tensors take 5.0 MiB, more than the 4 MiB allowed",
    ),
)
SLOW = (
    (
        forged("steered", CARRIED, HANDS_OUT, loop("x0_pred = x0_pred + 0.02 * (out - x0_pred)")),
        "the steps take the network's answer for x_0",
    ),
    (
        forged(
            "network-ignored",
            INVENTED,
            loop("x0_pred = x0_pred * (1 - beta).sqrt() + beta.sqrt() * torch.randn(shape)", "", LIBRARY),
        ),
        "something else comes in at t = 0",
    ),
    (forged("memorised", CARRIED, NEAREST, loop("x0_pred = x0_pred - 0.02 * out")), "the grader on"),
    (
        forged("memorised-with-noise", CARRIED, NEAREST, loop("x0_pred = x0_pred - beta * (out - torch.randn(shape))")),
        "the grader on",
    ),
    (
        forged(
            "walks-to-points",
            INVENTED,
            loop(
                "x0_pred = x0_pred + (aim - x0_pred) * 0.02",
                "from dataset import make_points\naim = torch.as_tensor(make_points('swiss_roll', shape[0])).float()",
            ),
        ),
        "the grader on",
    ),
)
NAMES = {"ids": lambda value: value.name if isinstance(value, Case) else ""}


@pytest.mark.parametrize(("case", "said"), QUICK, **NAMES)
def test_a_forged_training_earns_nothing(bench, case, said, monkeypatch):
    monkeypatch.setitem(TRAINING, "steps", 60)
    row = bench.judged(case, ROW)
    assert (row.points, row.pending) == (0, 0), account(row)
    assert row.verdict in (Verdict.FAILED, Verdict.CRASHED), account(row)
    assert any(said in check.message for check in row.checks), account(row)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "said"), [*QUICK, *SLOW], **NAMES)
def test_a_forged_training_earns_nothing_from_a_run(case, said, tmp_path, request):
    if case.name in ("forged-steered", "forged-points-handed-out"):
        request.getfixturevalue("busy")
    out = tmp_path / "out"
    assert main(["grade", str(write(case, tmp_path)), "--out", str(out), "--only", ROW]) == 0
    row = json.loads((out / case.name / "result.json").read_text())["rows"][0]
    assert row["points"] == 0
    assert row["verdict"] in ("failed", "crashed"), row["message"]
    assert any(said in check["message"] for check in row["checks"]), row["checks"]
