"""A run that survives: second runs, resubmissions, kills, a full disk, two runs at once, names that clash."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader import cli
from grader.errors import UsageError
from grader.lab import LAB
from grader.results import graded
from grader.running import class_run as run
from grader.running.grading import Order
from grader.sandbox.proc import descendants
from grader.submission import resubmissions as handed_in
from grader.submission.resubmissions import Task
from grader.tests.in_process import grade_here
from grader.tools.builder import build, pack

ONLY = ["--only", "task2.cosine"]
WRONG = {"task2.cosine": "betas = torch.linspace(1e-4, 0.02, num_train_timesteps)"}


def grade(out, *paths, code=cli.OK):
    assert cli.main(["grade", *map(str, paths), "--out", str(out), *ONLY]) == code


def points(out, name="7"):
    return json.loads((out / name / "result.json").read_text())["points"]


def summary(out):
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {line["id"]: line["points"] for line in csv.DictReader(file)}


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    folder = tmp_path_factory.mktemp("right")
    return pack(build(folder / "solved"), folder / "7_lab1.zip")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    return pack(build(folder / "wrong", WRONG), folder / "7_lab1.zip")


def older(path, seconds=3600):
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


# --- resubmissions


def test_of_a_resubmission_the_latest_counts_and_the_earlier_result_stays(right, wrong, tmp_path):
    out = tmp_path / "out"
    grade(out, wrong)
    assert points(out) == 0
    grade(out, right)
    assert points(out) == 4
    [earlier] = (out / "earlier" / "7").iterdir()
    assert json.loads((earlier / "result.json").read_text())["points"] == 0
    assert (earlier / "report.html").is_file()
    assert summary(out) == {"7": "4"}


@pytest.fixture
def two(right, wrong, tmp_path):
    """A victim's right submission, and a later one of somebody who took the id."""
    (tmp_path / "in").mkdir()
    first = older(Path(shutil.copy(right, tmp_path / "in" / "7_lab1.zip")))
    return first, Path(shutil.copy(wrong, tmp_path / "in" / "7_lab1 (1).zip"))


def remarks(out, name="7"):
    return json.loads((out / name / "result.json").read_text())["remarks"]


@pytest.mark.slow
def test_of_two_different_files_of_one_id_both_are_graded_until_a_person_has_said_which_counts(two, tmp_path, capsys):
    out = tmp_path / "out"
    grade(out, *two)
    assert summary(out) == {"7": "4", "7~2": "0"}, "the file that is named as it should be goes first"
    for name in ("7", "7~2"):
        [remark] = [text for text in remarks(out, name) if text.endswith(handed_in.UNDECIDED)]
        assert "in/7_lab1.zip" in remark
        assert "in/7_lab1 (1).zip" in remark
    assert "2 of 2: different submissions of one id" in capsys.readouterr().err
    assert "Different submissions of one id" in (out / "class.html").read_text()
    grade(out, *two)
    assert "2 graded before and unchanged" in capsys.readouterr().err
    grade(out, two[0])
    assert summary(out) == {"7": "4"}
    assert not handed_in.undecided(remarks(out))
    assert (out / "earlier" / "7~2").is_dir()
    assert "a person is needed for" not in capsys.readouterr().err
    assert "Different submissions of one id" not in (out / "class.html").read_text()


@pytest.mark.slow
def test_whoever_asks_for_the_latest_gets_it_and_the_other_is_named(two, tmp_path, capsys):
    assert cli.main(["grade", *map(str, two), "--out", str(tmp_path / "out"), *ONLY, "--take-latest"]) == cli.OK
    assert summary(tmp_path / "out") == {"7": "0"}
    assert any("earlier and not graded: in/7_lab1.zip" in remark for remark in remarks(tmp_path / "out"))
    assert "in/7_lab1.zip" in capsys.readouterr().err


def test_where_the_times_do_not_tell_the_latest_a_person_is_asked_all_the_same(two, wrong):
    os.utime(two[0], (1e9, 1e9))
    os.utime(two[1], (1e9, 1e9))
    assert [task.id for task in handed_in.tasks_of(list(two), LAB, take_latest=True)] == ["7", "7~2"]


def test_of_many_files_of_one_id_the_remark_stays_short(right, tmp_path):
    paths = [right]
    for number in range(6):
        folder = build(tmp_path / str(number), {"task2.cosine": f"betas = {number}"})
        paths.append(pack(folder, tmp_path / f"7_lab1 ({number}).zip"))
    tasks = handed_in.tasks_of(paths, LAB)
    assert [task.id for task in tasks] == ["7", *(f"7~{number}" for number in range(2, 8))]
    assert all("and 3 more" in task.remarks[0] and len(task.remarks[0]) < 500 for task in tasks)


def test_the_same_file_twice_is_one_submission(right, tmp_path):
    copy = shutil.copy(right, tmp_path / "7_lab1-2.zip")
    [task] = handed_in.tasks_of([right, Path(copy)], LAB)
    assert (task.id, task.remarks) == ("7", [])


def test_an_id_that_is_a_name_of_ours_gets_a_number(tmp_path):
    for name in ("earlier", "Desk", "run.json", "8"):
        (tmp_path / name).mkdir()
    tasks = handed_in.tasks_of([tmp_path / name for name in ("earlier", "Desk", "run.json", "8")], LAB, run.OURS)
    assert [task.id for task in tasks] == ["earlier~2", "Desk~2", "run.json~2", "8"]


# --- what is kept


@pytest.mark.slow
def test_force_grades_again_and_what_it_replaces_stays(right, tmp_path):
    out = tmp_path / "out"
    grade(out, right)
    before = (out / "7" / "result.json").stat().st_ino
    assert cli.main(["grade", str(right), "--out", str(out), *ONLY, "--force"]) == 0
    assert (out / "7" / "result.json").stat().st_ino != before
    assert len(list((out / "earlier" / "7").iterdir())) == 1


@pytest.mark.slow
def test_a_result_under_other_rules_is_not_taken_up(right, tmp_path):
    out, policy = tmp_path / "out", tmp_path / "strict.toml"
    grade(out, right)
    policy.write_text("[cosine]\nclips = [0.5]\n")
    grade(out, right, "--policy", policy)
    assert points(out) < 4


def test_a_result_in_which_the_grader_failed_is_graded_again(right, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def broken(bench):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(run, "grade_into", grade_here)
        patch.setattr("grader.lab.rows.task2.cosine.judge.judge", broken)
        grade(out, right, code=cli.FAULT)
    grade(out, right)
    assert points(out) == 4


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[]"])
def test_a_result_that_cannot_be_read_is_graded_again(right, tmp_path, text):
    out = tmp_path / "out"
    grade(out, right)
    (out / "7" / "result.json").write_text(text)
    grade(out, right)
    assert points(out) == 4


# --- kills and broken machines


def start(out, *paths, jobs=1):
    command = [sys.executable, "-m", "grader", "grade", *map(str, paths), "--out", str(out), "--jobs", str(jobs), *ONLY]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(out.parent)},
    )


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_run_is_completed_by_the_same_command_and_leaves_nothing_behind(right, tmp_path):
    out = tmp_path / "out"
    paths = [shutil.copy(right, tmp_path / f"{number}_lab1.zip") for number in range(3)]
    killed = start(out, *paths)
    killed.stderr.readline()  # the first is done
    time.sleep(0.5)
    workers = descendants(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (out / ".work").is_dir()
    assert list(tmp_path.glob("ddpm-grader-run-*")), "what the test is about"
    assert (out / "0" / "result.json").is_file()
    inode = (out / "0" / "result.json").stat().st_ino
    again = start(out, *paths)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert summary(out) == {"0": "4", "1": "4", "2": "4"}
    assert (out / "0" / "result.json").stat().st_ino == inode, "finished work was done twice"
    assert not list(tmp_path.glob("ddpm-grader-run-*"))
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_a_kill_between_the_two_renames_loses_no_result(right, wrong, tmp_path, monkeypatch):
    out = tmp_path / "out"
    grade(out, wrong)
    done = Path.rename

    def killed(self, target):
        if self.parent.name == ".work":
            raise KeyboardInterrupt
        return done(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        assert cli.main(["grade", str(right), "--out", str(out), *ONLY]) == 130
    assert not (out / "7").exists()
    [earlier] = (out / "earlier" / "7").iterdir()
    assert (earlier / "result.json").is_file()
    grade(out, right)
    assert points(out) == 4


@pytest.mark.slow
def test_two_runs_do_not_share_a_folder(right, tmp_path, capsys):
    with run.claimed(tmp_path / "out"):
        assert cli.main(["grade", str(right), "--out", str(tmp_path / "out"), *ONLY]) == cli.USAGE
    assert f"process {os.getpid()}" in capsys.readouterr().err
    grade(tmp_path / "out", right)


def test_the_scratch_of_a_run_that_goes_on_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    alive = tmp_path / f"{run.SCRATCH}{os.getpid()}-{run._began(os.getpid())}0"
    other = tmp_path / f"{run.SCRATCH}1-{run._began(1)}"
    for folder in (alive, other):
        folder.mkdir()
    with run.claimed(tmp_path / "out"):
        assert other.is_dir(), "process 1 is alive"
        assert not alive.exists(), "another process by our number"


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE])
def test_a_broken_machine_stops_the_run_and_says_how_to_go_on(right, tmp_path, monkeypatch, capsys, number):
    def broken(folder, out, name):
        raise OSError(number, os.strerror(number), str(out / name))

    with monkeypatch.context() as patch:
        patch.setattr(run, "put_in_place", broken)
        grade(tmp_path / "out", right, code=cli.FAULT)
    assert "the same command goes on" in capsys.readouterr().err
    grade(tmp_path / "out", right)
    assert points(tmp_path / "out") == 4


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_leaves_whole_results_only(right, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        paths = [shutil.copy(right, tmp_path / f"{number}_lab1.zip") for number in range(4)]
        filler = disk / "filler"
        filler.write_bytes(b"x" * 130_000)
        stopped = start(disk / "out", *paths)
        _, err = stopped.communicate(timeout=120)
        assert stopped.returncode == cli.FAULT, err
        assert "No space left" in err
        whole = {path.parent.name for path in (disk / "out").glob("*/result.json")}
        assert len(whole) < 4
        assert all(points(disk / "out", name) == 4 for name in whole)
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        grade(disk / "out", *paths)
        assert set(summary(disk / "out").values()) == {"4"}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_class_takes_no_more_than_its_jobs_at_a_time(tmp_path, monkeypatch):
    """However large the class: nothing is queued that has not begun."""
    order = Order(LAB, 0, LAB.policy(), tuple(LAB.select(["task2.cosine"])))
    begun = []

    class Stop(Exception):
        pass

    def work(task, order, folder, stopped):
        raise Stop

    monkeypatch.setattr(run, "grade_into", work)
    tasks = [Task(str(number), tmp_path) for number in range(1000)]
    with pytest.raises(Stop):
        list(run.grade_class(tasks, order, tmp_path, 2, begun.append))
    assert 1 <= len(begun) <= 3


def test_an_empty_folder_of_results_says_how_they_are_made(tmp_path):
    with pytest.raises(UsageError, match="ddpm-grader grade"):
        graded(tmp_path)
