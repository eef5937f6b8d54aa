"""Another lab, of one row and a half of its own, goes through the same command line, sandbox, reports and exports."""

import csv
import json
import pickle

import pytest

from grader import cli
from grader.judging.made_up import combined
from grader.tests.toy import LAB
from grader.tests.toy.rows.part1.double.made_up import MISTAKES, STYLES
from grader.tools.builder import pack, write

BODIES = {"right": STYLES[0], "sum": STYLES[1], "wrong": MISTAKES[0], "untouched": None}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """OUT of a class of four, and what the run printed is not of interest here."""
    root = tmp_path_factory.mktemp("toy")
    for name, made_up in BODIES.items():
        folder = write(combined(name, [made_up]), root / "built", LAB) if made_up else LAB.released
        pack(folder, root / f"{name}_toy.zip")
    code = cli.main(["grade", *map(str, sorted(root.glob("*.zip"))), "--out", str(root / "out"), "--jobs", "2"], LAB)
    assert code == cli.OK
    return root / "out"


def result(graded, name):
    return json.loads((graded / name / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "verdict", "points"),
    [("right", "passed", 5), ("sum", "passed", 5), ("wrong", "failed", 0), ("untouched", "not_implemented", 0)],
)
def test_each_submission_gets_its_verdict_and_points(graded, name, verdict, points):
    [row] = result(graded, name)["rows"]
    assert (row["id"], row["verdict"], row["points"], row["max"]) == ("part1.double", verdict, points, 5)


def test_a_wrong_answer_is_named_and_its_finding_keeps_its_fields(graded):
    [row] = result(graded, "wrong")["rows"]
    assert row["diagnosis"]["id"] == "square-for-double"
    [check] = row["checks"]
    assert (check["checked"], check["expected"], check["equation"]) == ("double(x)", "2 x", "y = 2 x")
    assert row["evidence"] == ["double.png"]
    assert result(graded, "wrong")["remarks"] == []
    assert result(graded, "untouched")["remarks"] == ["report.pdf is missing"]


def test_report_summary_and_class_page_speak_of_this_lab(graded):
    report = (graded / "wrong" / "report.html").read_text(encoding="utf-8")
    assert "Part 1 · arithmetic" in report
    assert "the number is squared" in report
    with (graded / "summary.csv").open(encoding="utf-8") as file:
        assert [line["part1.double"] for line in csv.DictReader(file)] == ["5", "5", "0", "0"]
    page = (graded / "class.html").read_text(encoding="utf-8")
    assert "double: twice the number" in page
    for text in (report, page):
        assert "task1" not in text
        assert "SimpleNet" not in text


@pytest.mark.parametrize("form", ["csv", "junit", "markdown"])
def test_the_class_is_exported(graded, tmp_path, form):
    assert cli.main(["export", form, str(graded), "--to", str(tmp_path / "out")], LAB) == cli.OK
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert "part1.double" in text
    assert "task1" not in text


def test_gradescope_gets_each_submission(graded, tmp_path):
    assert cli.main(["export", "gradescope", str(graded), "--to", str(tmp_path)], LAB) == cli.OK
    told = json.loads((tmp_path / "wrong" / "results.json").read_text(encoding="utf-8"))
    assert [(test["score"], test["max_score"]) for test in told["tests"]] == [(0, 5)]


def test_the_gradebook_has_this_labs_rows(graded):
    assert cli.main(["export", "nbgrader", str(graded)], LAB) == cli.OK
    from grader.desk.course import Course
    from grader.desk.gradebook import opened

    with opened(Course.of(graded, None, LAB)) as book:
        [cell] = book.find_notebook("evidence", LAB.assignment).grade_cells
        assert (cell.name, cell.max_score) == ("part1-double", 5.0)
        scores = {grade.student.id: grade.auto_score for grade in cell.grades}
    assert scores == {"right": 5.0, "sum": 5.0, "wrong": 0.0, "untouched": 0.0}


def test_a_lab_is_pickled_by_name_so_that_a_cluster_finds_it():
    assert pickle.loads(pickle.dumps(LAB)) is LAB


def test_verbs_and_options_that_only_the_course_lab_has_are_not_there(capsys):
    assert cli.main(["fid", "x"], LAB) == cli.USAGE
    assert "verbs are grade, desk, export" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["grade", "x", "--out", "y", "--fid", "images"], LAB)
