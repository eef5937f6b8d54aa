"""A class in nbgrader's gradebook, in SQLite and in PostgreSQL: scores, what people typed, regrades, odd classes."""

import csv
import logging
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from grader import cli
from grader.desk import evidence, gradebook
from grader.desk.course import NOTEBOOK, Course, cell_name, gradebook_url, student_id, without_password
from grader.desk.gradebook import opened, typed, write_class
from grader.errors import UsageError
from grader.lab import LAB
from grader.labs import RowKind, RubricRow
from grader.records import Row, Verdict
from grader.results import graded
from grader.tests.desk_class import (
    HOSTILE_ID,
    binaries,
    grades_of,
    hostile_result,
    made_up_class,
    new_database,
    postgresql,
    type_in,
    with_row,
    write_result,
)
from grader.tests.samples import full, mixed


@pytest.fixture(scope="session")
def server():
    if binaries() is None:
        pytest.skip("PostgreSQL's initdb is not on this machine; .ci/run installs it")
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request):
    """None for the gradebook in OUT, or the URL of a fresh database."""
    return None if request.param == "sqlite" else new_database(request.getfixturevalue("server"))


@pytest.fixture
def out(tmp_path, empty_gradebook):
    out = made_up_class(tmp_path / "grades")
    (out / "desk").mkdir()
    shutil.copyfile(empty_gradebook, out / "desk" / "gradebook.db")
    return out


def fill(out, url=None):
    return write_class(Course.of(out, url, LAB), graded(out))


# --- scores


def test_every_row_has_its_automatic_score_and_those_for_a_person_wait(out, url):
    assert fill(out, url) == 3
    result = next(one for one in graded(out) if one.id == "412551014")
    with grades_of(out, url, result.id) as rows:
        assert set(rows) == {row.id for row in LAB.rubric}
        for row in result.rows:
            grade, _ = rows[row.id]
            waits = row.verdict in (Verdict.NEEDS_REVIEW, Verdict.GRADER_ERROR)
            points = None if waits or row.left_alone else row.points
            assert (grade.auto_score, grade.needs_manual_grade) == (points, waits)
            assert grade.max_score == row.max
            assert grade.manual_score is None
        assert rows["task2.fid"][1].auto_comment == "suggested: 15 of 20"
        assert rows["task1.p_sample"][1].auto_comment == "the variance is β, not the posterior variance β̃"


def test_the_environment_need_not_be_activated(out, monkeypatch):
    elsewhere = [part for part in os.environ["PATH"].split(os.pathsep) if not (Path(part) / "alembic").exists()]
    (out / "desk" / "gradebook.db").unlink()  # a new one is made by alembic, a command of its own
    monkeypatch.setenv("PATH", os.pathsep.join(elsewhere))
    assert fill(out) == 3
    assert os.environ["PATH"] == os.pathsep.join(elsewhere)


def test_writing_again_writes_nothing(out, url):
    fill(out, url)
    assert fill(out, url) == 0


def test_what_a_person_typed_survives_a_regrade_and_is_asked_for_again_where_the_score_changed(out, url):
    fill(out, url)
    type_in(out, url, "412551014", "task1.p_sample", 3.5, "half a point for the idea")
    type_in(out, url, "412551014", "task2.fid", 15, "page 1 shows it")
    result = next(one for one in graded(out) if one.id == "412551014")
    write_result(out, with_row(result, Row("task1.p_sample", 4, Verdict.PASSED, 4)))
    assert fill(out, url) == 1
    with grades_of(out, url, "412551014") as rows:
        grade, comment = rows["task1.p_sample"]
        assert (grade.auto_score, grade.manual_score, grade.score) == (4, 3.5, 3.5)
        assert comment.manual_comment == "half a point for the idea"
        assert grade.needs_manual_grade
        grade, comment = rows["task2.fid"]
        assert (grade.manual_score, comment.manual_comment, grade.needs_manual_grade) == (15, "page 1 shows it", False)
    assert typed(Course.of(out, url, LAB)) == {
        "412551014": {"task1.p_sample": (3.5, "half a point for the idea"), "task2.fid": (15, "page 1 shows it")}
    }


def test_a_row_that_is_not_judged_any_more_keeps_no_old_score(out):
    fill(out)
    result = next(one for one in graded(out) if one.id == "412551014")
    write_result(out, replace(result, rows=[row for row in result.rows if row.id != "task1.simplenet"]))
    fill(out)
    with grades_of(out, None, "412551014") as rows:
        grade, _ = rows["task1.simplenet"]
        assert (grade.auto_score, grade.needs_manual_grade) == (None, False)


def test_a_rubric_that_grows_reaches_students_who_are_in_the_gradebook(out, url, monkeypatch):
    fill(out, url)
    type_in(out, url, "412551014", "task2.fid", 15, "stays")
    grown = (*LAB.rubric, RubricRow("task2.extra_figure", 5, "another figure", RowKind.PERSON, "task2"))
    monkeypatch.setattr(LAB, "rubric", grown)
    result = next(one for one in graded(out) if one.id == "412551014")
    write_result(out, replace(result, rows=[*result.rows, Row("task2.extra_figure", 5, Verdict.NEEDS_REVIEW)]))
    fill(out, url)
    with opened(Course.of(out, url, LAB)) as book:
        notebook = book.find_submission_notebook(NOTEBOOK, LAB.assignment, "412551014")
        grades = {grade.name: grade for grade in notebook.grades}
        assert grades["task2-extra_figure"].needs_manual_grade
        assert grades["task2-fid"].manual_score == 15
        assert "task2-extra_figure" in {comment.name for comment in notebook.comments}


def test_a_student_who_left_the_class_keeps_what_was_typed_and_is_named(out, capsys):
    fill(out)
    type_in(out, None, "412551014", "task2.fid", 15, "stays")
    (out / "412551014" / "result.json").unlink()
    fill(out)
    assert "1 students have no result here and are left as they are: 412551014" in capsys.readouterr().err
    with grades_of(out, None, "412551014") as rows:
        assert rows["task2.fid"][0].manual_score == 15


@pytest.mark.slow
def test_a_gradebook_that_was_deleted_is_written_anew(out):
    fill(out)
    (out / "desk" / "gradebook.db").unlink()
    assert fill(out) == 3


def test_a_run_that_dies_in_the_middle_goes_on_where_it_was(out, monkeypatch):
    def dies(folder, notebook):
        raise KeyboardInterrupt

    monkeypatch.setattr(gradebook, "_write_notebook", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(out)
    monkeypatch.undo()
    assert fill(out) == 3
    assert not list((out / "desk" / "autograded").rglob("*.draft"))


# --- evidence


def test_the_evidence_says_what_was_expected_and_shows_figures_and_pages(out):
    fill(out)
    notebook = nbformat.read(
        out / "desk" / "autograded" / "412551014" / LAB.assignment / "evidence.ipynb", as_version=4
    )
    nbformat.validate(notebook)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    assert set(cells) == {cell_name(row.id) for row in LAB.rubric if row.points}  # the companions were left alone
    assert next(iter(cells)) == "task1-compute_loss"  # what waits for a person comes first
    assert all(cell.metadata.nbgrader.grade and cell.metadata.nbgrader.solution for cell in cells.values())
    told = cells["task1-p_sample"].source
    assert "expected: 0.00909 (beta-tilde at t = 1)" in told
    assert "got: 0.03222" in told
    assert "likely: the variance is β" in told
    [figure] = cells["task1-q_sample"].outputs
    assert figure.metadata["image/png"]["alt"].startswith("q(x_t) at rising t")
    [page] = cells["task2-fid"].outputs
    assert page.metadata["image/png"]["alt"] == "page 1 of report.pdf"
    assert "suggested: 15 of 20" in cells["task2-fid"].source


def test_text_of_students_stands_in_the_source_of_code_cells_alone(tmp_path):
    result = hostile_result(tmp_path)
    notebook = evidence.notebook_of(result, tmp_path / result.id, LAB)
    for cell in notebook.cells:
        assert cell.cell_type == "code" or cell.source.startswith("# Evidence")
        for output in cell.get("outputs", []):
            assert set(output.data) == {"image/png"}
    text = nbformat.writes(notebook)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x1b\x07\x9b\ud800]|\\u001b|\\ud800", text)


@pytest.mark.parametrize("name", [HOSTILE_ID, "a/../../b", "..", ".hidden", "陳小明_1", "x" * 300, "=1+1", ""])
def test_odd_ids_become_ids_that_are_folder_names(name):
    made = student_id(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}", made)
    assert made != student_id(name + "x")
    assert student_id("412551014") == "412551014"


def test_a_hostile_student_is_written_and_typed_points_come_back_under_the_real_id(tmp_path, url):
    out = tmp_path / "grades"
    write_result(out, hostile_result(out))
    fill(out, url)
    type_in(out, url, HOSTILE_ID, "task2.fid", 5, "=cmd|'/c calc'!A1")
    assert typed(Course.of(out, url, LAB)) == {HOSTILE_ID: {"task2.fid": (5, "=cmd|'/c calc'!A1")}}
    with opened(Course.of(out, url, LAB)) as book:
        [student] = book.students
        assert not set("<>\"'&;=\u202e") & set(student.last_name)


# --- out again


@pytest.mark.parametrize("score", [9999, -1, float("inf")])
def test_a_score_that_the_rubric_does_not_have_is_refused_by_name(out, score):
    fill(out)
    type_in(out, None, "412551014", "task2.fid", score, "")
    with pytest.raises(UsageError, match=r"412551014, task2\.fid: .* of 20"):
        typed(Course.of(out, None, LAB))


def nbgrader(out, url, *command):
    course = Course.of(out, url, LAB)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "nbgrader", *command],
        cwd=course.root,
        env=course.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.mark.slow
def test_nbgrader_export_has_a_column_for_each_row_and_no_formula(tmp_path, url):
    out = made_up_class(tmp_path / "grades")
    name = '=HYPERLINK(1),"Show, Jr"'
    write_result(out, replace(full(), id=name))
    fill(out, url)
    type_in(out, url, "412551014", "task2.fid", 9999, "")
    type_in(out, url, "412551014", "task1.compute_loss", 0, "nothing right")
    told = nbgrader(out, url, "export", "--exporter=grader.desk.exporter.RowsExporter", "--to", "marks.csv")
    with open(out / "desk" / "marks.csv", newline="", encoding="utf-8") as file:
        lines = {line["id"]: line for line in csv.DictReader(file)}
    assert len(lines) == 4
    assert lines["412551014"]["task2.fid"] == "20"
    assert "412551014, task2-fid: 9999 of 20 points are typed; 20 are exported" in told.stderr
    assert lines["412551014"]["task1.compute_loss"] == "0"
    assert lines["412551014"]["task2.fig_schedules"] == ""
    assert float(lines["412551001"]["total"]) + float(lines["412551001"]["pending"]) == 110
    assert lines[student_id(name)]["name"] == "_HYPERLINK_1_,_Show, Jr_"
    assert not [cell for line in lines.values() for cell in line.values() if cell[:1] in ("=", "+", "@")]


def test_export_csv_takes_points_from_the_gradebook(out, url, capsys):
    fill(out, url)
    type_in(out, url, "412551014", "task2.fid", 15, "page 1 shows it")
    assert cli.main(["export", "csv", str(out), *(["--gradebook", url] if url else [])]) == 0
    lines = {line["id"]: line for line in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert lines["412551014"]["task2.fid"] == "15"
    assert lines["412551001"]["task2.fid"] == ""


# --- the command line


@pytest.mark.slow
def test_export_nbgrader_never_shows_a_password(out, server, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    url = new_database(server)
    password = url.split(":")[2].split("@")[0]
    assert cli.main(["export", "nbgrader", str(out), "--gradebook", url]) == 0
    assert cli.main(["export", "nbgrader", str(out), "--gradebook", url.rpartition("/")[0] + "/nowhere"]) == 2
    told = capsys.readouterr()
    assert "3 students in postgresql+psycopg2://ta:***@127.0.0.1" in told.out
    assert "nowhere" in told.err
    assert password not in told.out + told.err + caplog.text
    files = [path for path in (out / "desk").rglob("*") if path.is_file()]
    assert not [path for path in files if password in path.read_text(encoding="utf-8", errors="replace")]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "the gradebook's URL is none"),
        ("mysql://x/y", "SQLite or PostgreSQL, not in mysql"),
        ("sqlite:////proc/no/gradebook.db", "cannot be opened"),
    ],
)
def test_a_url_that_is_no_gradebook_says_so(out, url, why, capsys):
    assert cli.main(["export", "nbgrader", str(out), "--gradebook", url]) == 2
    assert why in capsys.readouterr().err


def test_postgresql_urls_are_rewritten_for_the_driver_that_is_there():
    url = gradebook_url("postgresql://ta:secret@host/lab")
    assert url == "postgresql+psycopg2://ta:secret@host/lab"
    assert without_password(url) == "postgresql+psycopg2://ta:***@host/lab"


@pytest.mark.slow
def test_feedback_is_a_page_for_each_student_with_what_was_typed(tmp_path, url):
    out = tmp_path / "grades"
    write_result(out, mixed())
    fill(out, url)
    arguments = [sys.executable, "-m", "grader", "desk", str(out), "--feedback", *(["--gradebook", url] if url else [])]
    for comment in ("page 1 shows it", "on second thoughts"):
        type_in(out, url, "412551014", "task2.fid", 15, comment)
        subprocess.run(
            arguments, check=True, capture_output=True, timeout=120, env=os.environ | {"PYTHONWARNINGS": "ignore"}
        )
        page = (out / "desk" / "feedback" / "412551014" / LAB.assignment / "evidence.html").read_text(encoding="utf-8")
        assert comment in page
        assert "15.0" in page
