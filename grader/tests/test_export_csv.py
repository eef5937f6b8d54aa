"""`export csv`, the verb itself, and the points that people gave."""

import csv
import io
import json
import shutil
from xml.etree import ElementTree

import pytest

from grader import cli
from grader.desk.course import Course
from grader.desk.gradebook import write_class as fill_gradebook
from grader.desk.manual import with_manual
from grader.lab import LAB
from grader.output.formats.csv import to_csv
from grader.records import Verdict
from grader.results import graded
from grader.tests import samples
from grader.tests.desk_class import type_in

CLASS = [samples.full(), samples.untouched(), samples.mixed()]
ROWS = [row.id for row in LAB.rubric if row.points]


def write_class(out, results):
    for number, result in enumerate(results):
        folder = out / f"{number}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(result.to_json(), encoding="utf-8")
    return out


@pytest.fixture
def out(tmp_path):
    return write_class(tmp_path / "grades", CLASS)


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_line_a_submission_with_points_per_row_and_the_total():
    full, untouched = samples.full(), samples.untouched()
    first, second = read(to_csv([full, untouched], LAB))
    assert list(first) == ["id", *ROWS, "total", "pending", "maximum"]
    assert (first["id"], first["task1.q_sample"], first["total"], first["pending"]) == ("412551001", "4", "50", "60")
    assert (second["task1.q_sample"], second["total"], second["maximum"]) == ("0", "0", "110")


def test_rows_that_wait_for_a_person_are_empty_and_not_zero():
    line = read(to_csv([samples.full()], LAB))[0]
    assert [row for row in ROWS if line[row] == ""] == [row.id for row in LAB.rubric if row.points and not row.is_code]


def test_lines_end_in_crlf_and_nothing_else_does():
    text = to_csv([samples.full(), samples.hostile()], LAB)
    assert text.count("\r\n") == text.count("\n") == text.count("\r") == 3


def test_no_cell_is_a_formula():
    for cell in (
        cell for line in csv.reader(io.StringIO(to_csv([samples.hostile()], LAB), newline="")) for cell in line
    ):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))


def test_the_most_points_of_each_row_on_request():
    first = read(to_csv([samples.full()], LAB, maxima=True))[0]
    assert (first["id"], first["task2.fid"], first["total"]) == ("Points Possible", "20", "110")


def test_points_that_people_gave_decide_what_was_pending():
    result = with_manual(
        [samples.full()],
        {
            "412551001": {
                "task2.fid": (15, "see page 2"),
                "task1.q_sample": (3.5, ""),
                "task2.cosine": (None, "well done"),
            },
            "somebody else": {"task2.fid": (20, "")},
        },
    )[0]
    rows = {row.id: row for row in result.rows}
    assert (rows["task2.fid"].verdict, rows["task2.fid"].points) == (Verdict.PARTIAL, 15)
    assert rows["task2.fid"].message == "a person gave 15 of 20 points"
    assert rows["task2.fid"].remarks == ["a person's comment: see page 2"]
    assert (rows["task2.cosine"].points, rows["task2.cosine"].remarks) == (4, ["a person's comment: well done"])
    assert (result.points, result.pending) == (50 + 15 - 0.5, 40)
    assert samples.full().pending == 60


def test_points_that_are_no_number_decide_nothing():
    result = with_manual([samples.full()], {"412551001": {"task2.fid": (float("nan"), "")}})[0]
    assert result.pending == 60


def test_the_file_is_written_as_it_is_and_stdout_as_well(out, tmp_path, capfdbinary):
    assert cli.main(["export", "csv", str(out), "--to", str(tmp_path / "new" / "marks.csv")]) == 0
    assert capfdbinary.readouterr().out == b""
    assert cli.main(["export", "csv", str(out)]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "new" / "marks.csv").read_bytes()
    assert (tmp_path / "new" / "marks.csv").read_bytes().count(b"\r\n") == 4


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["cvs"], "no format 'cvs', did you mean 'csv'?"),
        (["latex"], "formats are gradescope, nbgrader, csv, junit, markdown"),
        (["csv", "nowhere"], "nowhere holds no results: `ddpm-grader grade SUBMISSION... --out nowhere` writes them"),
        (["gradescope"], "give either OUT, a graded class, or --autograder FILE.zip"),
        (["gradescope", "{out}"], "holds 3 submissions: name a folder with --to DIR"),
        (["markdown", "{out}", "--annotations"], "give the summary a file with --to"),
        (["csv", "{out}", "--to", "{out}"], "is a folder: --to takes the name of a file"),
    ],
)
def test_wrong_usage_says_what_to_do(out, args, says, capsys):
    assert cli.main(["export", *(arg.format(out=out) for arg in args)]) == 2
    assert says in capsys.readouterr().err


def test_help_lists_the_formats(capsys):
    assert cli.main(["export", "--help"]) == 0
    assert "ddpm-grader export csv grades --to marks.csv" in capsys.readouterr().out


def test_what_is_hidden_or_earlier_is_no_submission(out, capfd):
    shutil.copytree(out / "0", out / ".work")
    shutil.copytree(out / "0", out / "earlier" / "x")
    assert cli.main(["export", "csv", str(out)]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 4


def exported(out, capfd, name="csv", *more):
    capfd.readouterr()
    assert cli.main(["export", name, str(out), *more]) == 0
    return capfd.readouterr().out


@pytest.fixture(scope="module")
def gradebook(tmp_path_factory):
    """The gradebook of the class, in which nobody has typed anything."""
    out = write_class(tmp_path_factory.mktemp("gradebook"), CLASS)
    fill_gradebook(Course.of(out, None, LAB), graded(out))
    return out / "desk" / "gradebook.db"


def test_points_typed_at_the_desk_are_in_every_export(out, gradebook, tmp_path, capfd):
    assert read(exported(out, capfd))[0]["task2.fid"] == ""  # nobody has opened a desk
    (out / "desk").mkdir()
    shutil.copyfile(gradebook, out / "desk" / "gradebook.db")
    elsewhere = f"sqlite:///{shutil.copyfile(gradebook, tmp_path / 'other.db')}"
    for url, points in ((None, 15), (elsewhere, 20)):
        type_in(out, url, "412551001", "task2.fid", points, "see page 2")

    marks = read(exported(out, capfd))
    assert [line["task2.fid"] for line in marks] == ["15", "", ""]
    assert (marks[0]["total"], marks[0]["pending"]) == ("65", "40")
    assert read(exported(out, capfd, "csv", "--automatic"))[0]["task2.fid"] == ""
    assert read(exported(out, capfd, "csv", "--gradebook", elsewhere))[0]["task2.fid"] == "20"

    assert "| `412551001` | 65 of 110 | 40 |" in exported(out, capfd, "markdown")
    suite = ElementTree.fromstring(exported(out, capfd, "junit"))[0]
    [case] = [case for case in suite.iter("testcase") if case.get("name").startswith("task2.fid")]
    assert case.find("failure").get("message") == "partial, 15 of 20 points: a person gave 15 of 20 points"
    exported(out, capfd, "gradescope", "--to", str(tmp_path / "scope"))
    assert json.loads((tmp_path / "scope" / "412551001" / "results.json").read_text())["score"] == 65


def test_a_typed_score_that_the_rubric_does_not_have_stops_an_export(out, gradebook, tmp_path, capfd):
    url = f"sqlite:///{shutil.copyfile(gradebook, tmp_path / 'other.db')}"
    type_in(out, url, "412551001", "task2.fid", 9999)
    assert cli.main(["export", "csv", str(out), "--gradebook", url]) == 2
    assert "412551001, task2.fid: 9999.0 of 20" in capfd.readouterr().err
