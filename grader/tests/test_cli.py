"""The command line as an instructor types it: exit codes, files, resuming, interrupting, a class with bad apples."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from grader import __version__
from grader.cli import main
from grader.lab import LAB
from grader.records import Verdict
from grader.tests.in_process import grade_here
from grader.tools.builder import build, pack

CODE_ROWS = [row.id for row in LAB.rubric if row.is_code]


def result_of(out, name):
    return json.loads((out / name / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The solved lab as a ZIP, a truncated ZIP and the untouched release, graded in one run with seed 7."""
    folder = tmp_path_factory.mktemp("class")
    solved = pack(build(folder / "solved"), folder / "412551001_lab1.zip", top="412551001_lab1")
    broken = folder / "412551002_lab1.zip"
    broken.write_bytes(solved.read_bytes()[:3000])
    main(["release", str(folder / "412551003")])
    out = folder / "grades"
    paths = [str(solved), str(broken), str(folder / "412551003")]
    code = main(["grade", *paths, "--out", str(out), "--seed", "7", "--no-training"])
    return code, out, folder


def test_the_solved_lab_earns_all_code_points_and_the_rest_waits_for_a_person(graded):
    _, out, _ = graded
    result = result_of(out, "412551001")
    assert (result["points"], result["pending"], result["max"]) == (60, 50, 110)
    judged = {*CODE_ROWS, "task1.fig_q_sample", *(row.id for row in LAB.rubric if row.kind == "companion")}
    assert {row["verdict"] for row in result["rows"] if row["id"] in judged} == {"passed"}
    assert {row["verdict"] for row in result["rows"] if row["id"] not in judged} == {"needs_review"}
    assert result["remarks"] == []


def test_the_result_says_how_it_came_about(graded):
    _, out, _ = graded
    result = result_of(out, "412551001")
    assert (result["schema"], result["id"], result["seed"], result["sandbox"]) == (1, "412551001", 7, "bubblewrap")
    assert result["grader_version"] == __version__
    assert set(result["environment"]) == {"python", "torch", "device", "bounds"}
    assert len(result["submission_sha256"]) == 64
    assert [row["id"] for row in result["rows"]] == [row.id for row in LAB.rubric]
    assert all(0 <= check["points"] <= check["max"] for row in result["rows"] for check in row["checks"])


def test_the_points_of_a_rows_checks_add_up_to_the_rubric(graded):
    _, out, _ = graded
    points = {row.id: row.points for row in LAB.rubric}
    for row in result_of(out, "412551001")["rows"]:
        if row["checks"]:
            assert sum(check["max"] for check in row["checks"]) == points[row["id"]], row["id"]


def test_the_strip_is_drawn_from_the_submitted_q_sample(graded):
    _, out, _ = graded
    row = next(row for row in result_of(out, "412551001")["rows"] if row["id"] == "task1.fig_q_sample")
    assert row["evidence"] == ["q_sample.png"]
    assert (out / "412551001" / "q_sample.png").read_bytes().startswith(b"\x89PNG")


def test_the_untouched_release_earns_nothing_and_every_row_names_its_todo(graded):
    _, out, _ = graded
    result = result_of(out, "412551003")
    assert result["points"] == 0
    for row in result["rows"]:
        if row["id"] in CODE_ROWS:
            assert row["verdict"] == "not_implemented"
            assert f"TODO {row['id']}" in row["message"]


def test_a_broken_archive_is_told_apart_and_the_rest_of_the_class_is_graded(graded):
    code, out, _ = graded
    result = result_of(out, "412551002")
    assert code == 1
    assert "412551002_lab1.zip" in result["problem"]
    assert {row["verdict"] for row in result["rows"]} == {"missing"}
    assert (result["points"], result["pending"]) == (0, 0)


def test_the_summary_has_a_line_a_submission(graded):
    _, out, _ = graded
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["id"]: line for line in csv.DictReader(file)}
    assert {name: (line["points"], line["pending"]) for name, line in lines.items()} == {
        "412551001": ("60", "50"),
        "412551002": ("0", "0"),
        "412551003": ("0", "50"),
    }
    assert lines["412551001"]["task1.simplenet"] == "4"


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_second_run_keeps_what_was_graded_under_the_same_rules(graded, capsys, more):
    _, out, folder = graded
    before = (out / "412551001" / "result.json").stat().st_mtime_ns
    arguments = ["grade", str(folder / "412551001_lab1.zip"), "--out", str(out), "--no-training"]
    assert main([*arguments, *more]) == 0
    assert (out / "412551001" / "result.json").stat().st_mtime_ns == before
    assert "60/110" in capsys.readouterr().out


def test_a_second_run_grades_again_what_changed(graded, tmp_path):
    _, out, _ = graded
    changed = pack(build(tmp_path / "solved", {"task1.q_sample": "xt = x0"}), tmp_path / "412551001_lab1.zip")
    assert main(["grade", str(changed), "--out", str(out), "--only", "task1.q_sample"]) == 0
    assert result_of(out, "412551001")["points"] == 0
    [earlier] = (out / "earlier" / "412551001").iterdir()
    assert json.loads((earlier / "result.json").read_text())["points"] == 60
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3, "the summary is of the whole class"


@pytest.mark.slow
def test_only_draws_the_same_inputs_as_a_whole_run(tmp_path):
    wrong = build(tmp_path / "wrong", {"task1.q_sample": "xt = 2 * x0"})
    texts = set()
    for number, rows in enumerate((["--only", "task1.q_sample"], ["--only", "task1"])):
        out = tmp_path / f"out{number}"
        assert main(["grade", str(wrong), "--out", str(out), "--seed", "3", *rows]) == 0
        texts |= {row["message"] for row in result_of(out, "wrong")["rows"] if row["id"] == "task1.q_sample"}
    assert len(texts) == 1


def test_a_folder_of_submissions_is_not_taken_for_one(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}_lab1.zip").write_bytes(b"")
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert f"name the files, as in `{tmp_path}/*.zip`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["grad"], "no verb 'grad', did you mean 'grade'?"),
        (["grade", "nowhere.zip", "--out", "o"], "no such file or folder: nowhere.zip"),
        (["grade", ".", "--out", "o", "--only", "task1.q_sampel"], "did you mean task1.q_sample"),
        (["grade", ".", "--out", "o", "--policy", "absent.toml"], "cannot read the policy absent.toml"),
        (["grade", ".", "--out", "o", "--seed", "-1"], "--seed takes a whole number from 0 on"),
        (["grade", ".", "--out", "o", "--sandbox", "user"], "the sandbox 'user' runs each submission as another user"),
        (["release", "."], ""),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_wrong_usage_says_what_and_exits_with_2(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").write_text("kept")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(arguments) == 2
    assert text in capsys.readouterr().err
    assert (tmp_path / "something").read_text() == "kept"


def test_an_unknown_policy_key_is_named(tmp_path, capsys):
    policy = tmp_path / "policy.toml"
    policy.write_text("[limits]\nprobe_seconds = 3\n")
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "o"), "--policy", str(policy)]) == 2
    assert "unknown key limits.probe_seconds" in capsys.readouterr().err


def test_without_bubblewrap_auto_refuses_and_none_is_written_into_the_result(tmp_path, monkeypatch, capsys):
    solved = build(tmp_path / "solved")
    command = [
        sys.executable,
        "-m",
        "grader",
        "grade",
        str(solved),
        "--out",
        str(tmp_path / "o"),
        "--only",
        "task2.cosine",
    ]
    nowhere = {**os.environ, "PATH": str(tmp_path)}
    refused = subprocess.run(command, env=nowhere, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "install" in refused.stderr
    assert "--sandbox none" in refused.stderr
    allowed = subprocess.run([*command, "--sandbox", "none"], env=nowhere, capture_output=True, text=True)
    assert allowed.returncode == 0, allowed.stderr
    assert result_of(tmp_path / "o", "solved")["sandbox"] == "none"


def test_a_fault_of_the_grader_costs_no_marks(tmp_path, monkeypatch):
    def broken(bench):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("grader.running.class_run.grade_into", grade_here)
    monkeypatch.setattr("grader.lab.rows.task2.cosine.judge.judge", broken)
    out = tmp_path / "out"
    assert main(["grade", str(build(tmp_path / "solved")), "--out", str(out), "--only", "task2.cosine"]) == 3
    result = result_of(out, "solved")
    assert result["rows"][0]["verdict"] == Verdict.GRADER_ERROR
    assert (result["points"], result["pending"]) == (0, 4)
    assert "ZeroDivisionError" not in result["rows"][0]["message"]
    assert "ZeroDivisionError: a bug of ours" in (out / "solved" / "grader_error.log").read_text()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path):
    paths = [str(build(tmp_path / f"41255100{n}")) for n in range(4)]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "grader", "grade", *paths, "--out", str(out), "--jobs", "1", "--only", "task2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        line = run.stderr.readline()
        assert line.startswith("[1/4]")
        time.sleep(0.3)  # into the second
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == 130
    results = sorted(path.parent.name for path in out.glob("*/result.json"))
    assert 1 <= len(results) < 4
    for name in results:
        assert result_of(out, name)["points"] == 30, "a half-graded submission was written"
    assert main(command[3:]) == 0
    assert len(list(out.glob("*/result.json"))) == 4
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
