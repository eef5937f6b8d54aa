"""What is kept beside a result: the code, and what the submission was, so that it is unpacked once."""

import os
import shutil

import pytest

from grader.lab import LAB
from grader.records import Result
from grader.running import class_run
from grader.running.class_run import unfinished
from grader.running.grading import Order
from grader.submission import kept
from grader.submission.kept import CODE, as_handed_in, code_of, keep, read_kept
from grader.submission.resubmissions import Task
from grader.submission.unpack import stage
from grader.tools.builder import build, pack


@pytest.fixture
def handed_in(tmp_path):
    return pack(build(tmp_path / "built"), tmp_path / "7_lab1.zip", top="7_lab1")


@pytest.fixture
def order():
    return Order(LAB, 0, LAB.policy(), tuple(LAB.select(["task2.cosine"])))


def graded(tmp_path, path, order):
    """OUT with the result of one submission, as a run leaves it, without the judging."""
    folder = tmp_path / "out" / "7"
    folder.mkdir(parents=True)
    submission = stage(path, tmp_path / "staged", LAB)
    keep(path, submission, folder)
    result = Result("7", submission.sha256, "1", 0, "bubblewrap", {}, [], rules=order.rules_for("7"))
    (folder / "result.json").write_text(result.to_json())
    return folder


def test_the_code_of_each_half_lies_beside_the_result(tmp_path, handed_in, order):
    folder = graded(tmp_path, handed_in, order)
    assert set(code_of(folder)) == {"task1", "task2"}
    source = LAB.solutions / "2d_plot_diffusion_todo" / "chamfer.py"
    assert (folder / CODE / "task1" / "chamfer.py").read_text() == source.read_text()
    assert read_kept(folder).folders == {
        "task1": "7_lab1/2d_plot_diffusion_todo",
        "task2": "7_lab1/image_diffusion_todo",
    }


def test_a_result_stands_without_unpacking_the_same_file_again(tmp_path, handed_in, order, monkeypatch):
    graded(tmp_path, handed_in, order)
    monkeypatch.setattr(class_run, "content", lambda *_: pytest.fail("it was unpacked again"))
    todo, stands = unfinished([Task("7", handed_in)], order, tmp_path / "out")
    assert (todo, [result.id for result in stands]) == ([], ["7"])


def test_a_zip_made_anew_of_the_same_files_still_stands(tmp_path, handed_in, order):
    graded(tmp_path, handed_in, order)
    again = pack(tmp_path / "built", tmp_path / "again.zip")
    assert as_handed_in(again) != as_handed_in(handed_in)
    assert unfinished([Task("7", again)], order, tmp_path / "out")[0] == []


def test_an_edit_of_a_folder_is_seen_although_size_and_time_are_set_back(tmp_path, order):
    folder = build(tmp_path / "7")
    before, file = as_handed_in(folder), folder / "image_diffusion_todo" / "model.py"
    was = file.stat()
    text = file.read_text()
    file.write_text(text.replace("noise", "nosie", 1))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert file.stat().st_size == was.st_size
    assert as_handed_in(folder) != before


def test_what_is_not_there_stands_for_nothing(tmp_path, handed_in, order):
    graded(tmp_path, handed_in, order)
    handed_in.unlink()
    assert as_handed_in(handed_in) == ""
    assert len(unfinished([Task("7", handed_in)], order, tmp_path / "out")[0]) == 1


def test_more_code_than_a_student_writes_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 3)
    path = build(tmp_path / "7")
    keep(path, stage(path, tmp_path / "staged", LAB), tmp_path)
    assert len(list((tmp_path / CODE).rglob("*.py"))) == 3


def test_a_record_of_an_older_version_or_a_damaged_one_is_none(tmp_path):
    assert read_kept(tmp_path) is None
    (tmp_path / kept.RECORD).write_text("[]")
    assert read_kept(tmp_path) is None


def test_a_mended_judge_ends_what_results_stand_on(tmp_path, monkeypatch, order):
    """The sources that decide about marks are part of `rules`; what only renders is not."""
    from grader.running import grading

    copied = shutil.copytree(
        grading.PACKAGE, tmp_path / "grader", ignore=shutil.ignore_patterns("tests", "__pycache__")
    )
    monkeypatch.setattr(grading, "PACKAGE", copied)
    monkeypatch.setitem(LAB.__dict__, "folder", copied / "lab")

    def rules():
        grading.deciding_sources.cache_clear()
        return order.rules

    before = rules()
    for name in ("output/report.py", "lab/verbs.py", "running/progress.py"):
        with (copied / name).open("a") as file:
            file.write("\n# another word\n")
    assert rules() == before
    for name in ("judging/comparison.py", "lab/reference.py", "lab/rubric.toml", "worker/wire.py"):
        with (copied / name).open("a") as file:
            file.write("\n# mended\n")
        assert rules() != before, name
        before = rules()
    grading.deciding_sources.cache_clear()
