"""Bounds of a submission, and rows that break what is theirs alone; through the command line."""

from __future__ import annotations

import time
from pathlib import Path
from textwrap import dedent

import pytest

from grader.judging.made_up import Case
from grader.records import Verdict
from grader.tests.class_run import assert_outcomes, grade, graded_rows, results, rows_of, solved
from grader.tools.builder import write

LIMITS = "[limits]\nprobe_s = 6\nimport_s = 20\nprocesses = 24\n"


def spoiling(row: str, deed: str) -> dict[str, str]:
    """The solved TODO of a row, after a deed."""
    return {row: f"{deed}\n{dedent(solved()[row])}"}


STATE = Case(
    "state",
    bodies=spoiling("task1.q_sample", "torch.set_grad_enabled(False)")
    | spoiling("task1.p_sample", "torch.Tensor.mean = None\nimport os\nos.chdir('/')")
    | spoiling("task2.add_noise", "torch.set_default_dtype(torch.float64)")
    | spoiling("task2.step_x0", "import builtins\nbuiltins.range = None"),
)


@pytest.mark.slow
def test_what_a_row_leaves_behind_costs_no_other(tmp_path: Path):
    """Each of these rows may cost itself; the neighbours have all points."""
    rows = graded_rows(STATE, tmp_path)
    assert_outcomes({**rows, **{row: full(row) for row in STATE.bodies}})


def full(row_id: str) -> dict[str, object]:
    """A row that had nothing to complain about."""
    from grader.lab import LAB

    return {"verdict": "passed", "points": LAB.row(row_id).points, "diagnosis": None}


KILLER = Case(
    "killer",
    bodies=spoiling("task1.q_sample", "import os, signal\nos.kill(-1, signal.SIGKILL)")
    | spoiling("task2.add_noise", "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)")
    | spoiling("task2.loss_x0", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"),
)


@pytest.mark.slow
def test_a_row_after_a_dead_sandbox_is_judged_as_if_nothing_had_happened(tmp_path: Path, busy: None):
    rows = graded_rows(KILLER, tmp_path)
    assert_outcomes({**rows, **{row: full(row) for row in KILLER.bodies}})
    assert not [row for row in rows.values() if row["verdict"] == "grader_error"]


SPINNING = """
import os, signal
signal.signal(signal.SIGCHLD, signal.{how})
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("how", ["SIG_DFL", "SIG_IGN"])
def test_spinning_processes_end_in_the_time_of_their_limit(tmp_path: Path, busy: None, how: str):
    (tmp_path / "policy.toml").write_text(LIMITS)
    bomb = Case("bomb", bodies={"task1.q_sample": SPINNING.format(how=how)})
    began = time.monotonic()
    rows = graded_rows(bomb, tmp_path, "--policy", str(tmp_path / "policy.toml"), "--only", "task1.q_sample")
    passed = time.monotonic() - began
    assert rows["task1.q_sample"]["verdict"] in (Verdict.TIMEOUT, Verdict.CRASHED)
    assert passed < 2 * 2 * 6 + 30  # two probes may hang; the rest is for starting on a machine like that


@pytest.mark.slow
@pytest.mark.alone
def test_the_wall_time_binds_whatever_the_load(tmp_path: Path, busy: None):
    (tmp_path / "policy.toml").write_text("[limits]\nprobe_s = 6\nwall_s = 8\n")
    slow = Case(
        "slow", bodies={"task1.q_sample": "import time\ntime.sleep(5)"} | {"task1.p_sample": "while True: pass"}
    )
    assert grade([write(slow, tmp_path / "in")], tmp_path / "out", "--policy", str(tmp_path / "policy.toml")) == 0
    rows = rows_of(results(tmp_path / "out")["slow"])
    said = [row["message"] + "".join(check["message"] for check in row["checks"]) for row in rows.values()]
    assert any("of wall time for the submission are used up" in text for text in said)


@pytest.mark.slow
@pytest.mark.alone
def test_right_work_keeps_its_points_on_a_busy_machine(tmp_path: Path, busy: None):
    assert_outcomes(graded_rows(Case("solved"), tmp_path))
