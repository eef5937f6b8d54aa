"""The pages of report.pdf: found by what they say, rendered beside the rows that a person judges."""

import json

import pytest
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from PIL import Image

from grader import cli
from grader.lab import LAB
from grader.running.report_pages import MOST, Pages
from grader.tools.builder import build

TEXTS = (
    "Task 1: the Swiss roll",
    "FID of the best run: 17.3",
    "Trajectories: linear, quad and cosine schedules",
    "Samples of each predictor: noise, x0, mean",
)


def write_report(path, texts=TEXTS, size=(8.3, 11.7)):
    with PdfPages(path) as pdf:
        for text in texts:
            page = Figure(figsize=size)
            page.text(0.1, 0.9, text)
            pdf.savefig(page)
    return path.read_bytes()


def grade(folder, out):
    assert cli.main(["grade", str(folder), "--out", str(out), "--only", "task2.f"]) == cli.OK
    return {row["id"]: row for row in json.loads((out / folder.name / "result.json").read_text())["rows"]}


def test_each_row_gets_the_page_that_is_about_it(tmp_path):
    pdf = write_report(tmp_path / "report.pdf")
    rows = grade(build(tmp_path / "5", files={"report.pdf": pdf}), tmp_path / "out")
    assert [row["message"].split(", ", 1)[1] for row in rows.values()] == ["page 3", "page 4", "page 2"]
    assert rows["task2.fid"]["evidence"] == ["report-2.png"]
    with Image.open(tmp_path / "out" / "5" / "report-2.png") as page:
        assert page.width == pytest.approx(1000, abs=1)
        assert page.height > 1300
    html = (tmp_path / "out" / "5" / "report.html").read_text()
    assert "<img" not in html, "students have their own report; its pages are for the person who grades"


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not a PDF at all", b"%PDF-1.7\n" + b"\0" * 5000])
def test_a_report_that_cannot_be_read_is_a_persons(tmp_path, content):
    rows = grade(build(tmp_path / "5", files={"report.pdf": content}), tmp_path / "out")
    assert {row["verdict"] for row in rows.values()} == {"needs_review"}
    assert all("report.pdf cannot be read" in row["message"] for row in rows.values())


@pytest.mark.slow
def test_a_submission_without_a_report_says_so(tmp_path):
    rows = grade(build(tmp_path / "5", files={"report.pdf": None}), tmp_path / "out")
    assert all("no report.pdf was handed in" in row["message"] for row in rows.values())


def test_where_no_page_speaks_of_a_row_the_first_ones_are_shown():
    assert Pages(["", "", "", "", "", ""]).about(LAB.row("task2.fid")) == list(range(MOST))


def test_the_page_with_the_most_words_comes_first():
    pages = Pages(["a cosine", "linear, quad and cosine schedules", "nothing"])
    assert pages.about(LAB.row("task2.fig_schedules")) == [1, 0]
    assert pages.where(LAB.row("task2.fig_schedules")) == "see report.pdf, pages 1, 2"
