"""A submission's own process: whatever happens in it, the class goes on, and rows that were told stay."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from grader import cli
from grader.lab import LAB as COURSE
from grader.lab.images.request import Request
from grader.running import apart, turns
from grader.running.grading import Order
from grader.sandbox.proc import descendants
from grader.tests.odd_lab import PASSES, odd_lab, odd_submission

GOES_WRONG = {
    "first": PASSES,
    "bug": "raise ZeroDivisionError('a bug of ours')",
    "memory": "np.ones(10**10)",
    "growth": "kept = []\nwhile True:\n    kept.append(bytes(10**8))",
    "endless": "while True:\n    try:\n        sum(range(1000))\n    except Exception:\n        pass",
    "length": "class Long:\n    __len__ = lambda self: 2**62\n    __getitem__ = lambda self, at: 0\nsum(Long())",
    "touched": "raise ProbeFailure(Verdict.FAILED, 'it holds no number', 'odd.py:3')",
    "nested": "import json\njson.loads('[' * 100_000)",
    "text": "return told(Verdict.FAILED, '\\x1b[31m\\x00\\u202e' + 2_000_000 * 'x')",
    "printed": 'print(\'{"end": {"how": "done"}}\')\nreturn told(Verdict.PASSED)',
    "figure": "return told(Verdict.PASSED, seen=[Undrawable()])",
    "last": PASSES,
}
VERDICTS = {
    "first": "passed",
    "bug": "grader_error",
    "memory": "out_of_memory",
    "growth": "out_of_memory",
    "endless": "timeout",
    "length": "timeout",
    "touched": "failed",
    "nested": "failed",
    "text": "failed",
    "printed": "passed",
    "figure": "passed",
    "last": "passed",
}


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(lab, root, *options, names=("7",)):
    paths = [str(odd_submission(root / "in", name)) for name in names]
    return cli.main(["grade", *paths, "--out", str(root / "out"), "--sandbox", "none", *options], lab)


def result(root, name="7"):
    text = (root / "out" / name / "result.json").read_text(encoding="utf-8")
    return json.loads(text), len(text)


def verdicts(root, name="7"):
    return {row["id"].partition(".")[2]: row["verdict"] for row in result(root, name)[0]["rows"]}


def test_each_way_of_going_wrong_costs_its_own_row_and_only_a_bug_of_ours_is_one(tmp_path, capsys):
    assert run(odd_lab(tmp_path, GOES_WRONG, grader_mib=1024), tmp_path) == cli.FAULT
    assert verdicts(tmp_path) == VERDICTS
    record, length = result(tmp_path)
    assert length < 50_000
    rows = {row["id"].partition(".")[2]: row for row in record["rows"]}
    assert "\x1b" not in rows["text"]["checks"][0]["message"]
    assert rows["touched"]["message"] == "it holds no number\nwhere: odd.py:3"
    assert rows["figure"]["remarks"] == ["a figure could not be drawn: ValueError"]
    assert "ZeroDivisionError: a bug of ours" in (tmp_path / "out" / "7" / "grader_error.log").read_text()
    assert (tmp_path / "out" / "7" / "report.html").is_file()
    assert "seed" not in (tmp_path / "out" / "7" / "report.html").read_text(encoding="utf-8").lower()


@pytest.mark.slow
@pytest.mark.alone
def test_at_the_bound_the_process_ends_and_the_class_goes_on_also_on_a_busy_machine(
    tmp_path, monkeypatch, capsys, busy
):
    monkeypatch.setattr(apart, "MARGIN_S", 0.0)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1e6)"
    lab = odd_lab(tmp_path, {"first": PASSES, "hangs": body, "last": PASSES}, wall_s=25)
    began = time.monotonic()
    assert run(lab, tmp_path) == cli.OK
    assert time.monotonic() - began < 60
    assert verdicts(tmp_path) == {"first": "passed", "hangs": "timeout", "last": "timeout"}
    assert "25 s for the submission" in result(tmp_path)[0]["rows"][1]["message"]
    assert sorted(path.name for path in (tmp_path / "out" / "7").iterdir()) == [
        "code",
        "report.html",
        "result.json",
        "submission.json",
    ]


@pytest.mark.slow
def test_a_process_that_somebody_kills_is_tried_once_more(tmp_path, capsys):
    mark = f"mark = Path({str(tmp_path / 'mark')!r})\n"
    once = f"{mark}if not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), 9)\n"
    assert run(odd_lab(tmp_path, {"first": PASSES, "killed": once + PASSES}), tmp_path) == cli.OK
    assert verdicts(tmp_path) == {"first": "passed", "killed": "passed"}


@pytest.mark.slow
@pytest.mark.parametrize("body", ["os.kill(os.getpid(), 9)", "os.abort()", "os._exit(0)"])
def test_a_process_that_ends_for_no_reason_of_the_submissions_is_a_fault_of_ours(tmp_path, capsys, body):
    assert run(odd_lab(tmp_path, {"first": PASSES, "ends": body, "last": PASSES}), tmp_path) == cli.FAULT
    assert verdicts(tmp_path) == {"first": "passed", "ends": "grader_error", "last": "grader_error"}
    assert "ended with" in (tmp_path / "out" / "7" / "grader_error.log").read_text()


@pytest.mark.slow
def test_a_fault_of_the_machine_in_it_stops_the_run(tmp_path, capsys):
    assert run(odd_lab(tmp_path, {"first": "raise OSError(28, 'full', 'disk')"}), tmp_path) == cli.FAULT
    assert "No space left on device: disk" in capsys.readouterr().err
    assert not (tmp_path / "out" / "7").exists()


# --- stops


WAITS = {"first": "(Path(os.environ['MARK']) / str(os.getpid())).touch()\ntime.sleep(1e6)"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_ends_its_submissions_at_once(tmp_path, number):
    lab = odd_lab(tmp_path, WAITS)
    marks = tmp_path / "marks"
    marks.mkdir()
    paths = [str(odd_submission(tmp_path / "in", name)) for name in "78"]
    code = (
        f"import sys; sys.path.append({str(tmp_path / 'labs')!r}); from grader import cli, labs; "
        f"sys.exit(cli.main(sys.argv[1:], labs.named({lab.package!r})))"
    )
    command = [sys.executable, "-c", code, "grade", *paths, "--out", str(tmp_path / "out"), "--sandbox", "none"]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], env={**os.environ, "MARK": str(marks)}, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while len(list(marks.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    below = descendants(process.pid)
    assert {int(mark.name) for mark in marks.iterdir()} <= set(below)
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number != signal.SIGKILL else -number), said
    while [pid for pid in below if os.path.exists(f"/proc/{pid}")] and time.monotonic() < began + 20:
        time.sleep(0.05)
    assert not [pid for pid in below if os.path.exists(f"/proc/{pid}")]
    assert time.monotonic() - began < 20
    assert not list((tmp_path / "out").glob("*/result.json"))


# --- what is drawn


DRAWS = {"first": "return told(Verdict.FAILED, str(bench.seed()))"}


@pytest.mark.slow
def test_what_is_drawn_depends_on_the_runs_seed_and_on_the_content_that_was_handed_in(tmp_path, capsys):
    lab = odd_lab(tmp_path, DRAWS)
    paths = [odd_submission(tmp_path / "in", name) for name in "789"]
    (paths[2] / "odd_half" / "odd.py").write_text("x = 2\n", encoding="utf-8")

    def drawn(out, seed):
        command = ["grade", *map(str, paths), "--out", str(tmp_path / out), "--sandbox", "none", "--seed", seed]
        assert cli.main(command, lab) == cli.OK
        files = [tmp_path / out / name / "result.json" for name in "789"]
        return [json.loads(file.read_text(encoding="utf-8"))["rows"][0]["message"] for file in files]

    one, again, other = drawn("one", "5"), drawn("again", "5"), drawn("other", "6")
    assert one == again
    assert one[0] == one[1] != one[2], "who hands in something else meets other numbers"
    assert not set(one) & set(other)


# --- turns


def test_whoever_waits_for_the_machine_says_so_and_is_excused(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(turns, "_agreed", [(tmp_path / "turns", said.append)])

    def work():
        with turns.alone():
            said.append("works")

    with open(tmp_path / "turns", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=work)
        thread.start()
        while not said:
            time.sleep(0.01)
        thread.join(0.1)
        assert said == [True], "it is another one's turn"
    thread.join(10)
    assert said == [True, False, "works"]
    told = apart.Told()
    told.take(b'{"waits": true}')
    time.sleep(0.05)
    assert told.excused_s >= 0.05
    told.take(b'{"waits": false}')
    before = told.excused_s
    time.sleep(0.02)
    assert told.excused_s == before >= 0.05


def test_work_on_images_has_the_time_that_its_limits_allow_beyond_a_submissions():
    policy = COURSE.policy()
    rows = tuple(COURSE.rubric)
    plain = Order(COURSE, 0, policy, rows)
    usual = policy.limits.wall_s + apart.MARGIN_S
    assert apart.wall_bound(plain) == usual
    handed_in = replace(plain, artifacts=Path())
    sampled = replace(handed_in, extra=Request(fid="sample"))
    trained = replace(plain, extra=Request(fid="retrain", budget_s=7200.0))
    code = tuple(row for row in rows if row.is_code)
    assert apart.wall_bound(replace(trained, rows=code)) == usual, "nothing is trained for the code"
    limits = [apart.wall_bound(order) - usual for order in (handed_in, sampled, trained)]
    assert limits[0] > 3 * policy.image_runs.sampling_s
    assert limits[1] > limits[0] + policy.image_runs.sampling_s
    assert limits[2] > 3 * 7200
    assert COURSE.beyond(sampled)[1] == policy.image_runs.memory_mib
