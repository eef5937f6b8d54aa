"""The page about a class, and the similar code that it shows."""

import copy
import re
from html.parser import HTMLParser

import pytest

from grader import cli
from grader.lab import LAB
from grader.output.class_page import link, misconceptions, remarks, render, row_lines, totals, write_class_page
from grader.records import Verdict
from grader.submission.similarity import Likeness
from grader.tests import samples
from grader.tests.clock import cpu_seconds
from grader.tools.builder import build


class Page(HTMLParser):
    """Tags, links and event attributes of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.events = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        self.events += [name for name, _ in attributes if name.startswith("on")]


def many(count):
    results = []
    for number in range(count):
        result = copy.deepcopy(samples.mixed())
        result.id = f"4125{number:05d}"
        for row in result.rows:
            if row.id == "task2.fid" and number % 2:
                row.measured = {"fid": 10.0 + number, "interval": [9.0 + number, 11.0 + number], "trust": "sampled"}
        results.append(result)
    return results


def test_the_page_has_rows_misconceptions_fids_and_remarks():
    html = render(many(5), Likeness(), LAB)
    found = next(row.diagnosis.title for row in samples.mixed().rows if row.diagnosis)
    assert found in html
    assert html.count("<circle") == 2
    assert "task1.simplenet" in html
    assert 'href="412500003/report.html"' in html


def test_the_thresholds_are_those_of_the_policy_in_force(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[fid]\nthresholds = [7.5, 21.5, 30.0, 40.0]\n")
    html = write_class_page(many(5), tmp_path, LAB, LAB.policy(mine)).read_text(encoding="utf-8")
    shown = re.findall(r'<line class="line"[^>]*/><text[^>]*>([^<]*)</text>', html)
    assert shown == ["7.5", "21.5", "30", "40"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "12"])
def test_what_is_no_number_has_no_dot(value):
    [result] = many(1)
    next(row for row in result.rows if row.id == "task2.fid").measured = {"fid": value}
    assert "<circle" not in render([result], Likeness(), LAB)


def test_companion_exercises_count_those_who_passed_of_those_who_tried():
    html = render([samples.full(), samples.companions(), samples.companions()], Likeness(), LAB)
    assert "0 of 2" in html.partition("extra.forward_step")[2].partition("</tr>")[0]
    assert "2 of 2" in html.partition("extra.train_step")[2].partition("</tr>")[0]
    assert "extra.naive_skip" not in html


def test_nothing_that_a_student_wrote_is_markup(tmp_path):
    page = Page(render([samples.hostile(), samples.broken()], Likeness(), LAB))
    assert not page.tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    assert page.events == []
    assert all(re.fullmatch(r"[A-Za-z0-9%._~-]+/report\.html", target) for target in page.links)


@pytest.mark.parametrize("name", ["a b", "../x", "javascript:alert(1)", "陳小明", "a/b?c#d", "\ud800"])
def test_links_lead_to_the_report_whatever_the_id(name):
    assert re.fullmatch(r"[A-Za-z0-9%._~-]+/report\.html", link(name))


@pytest.mark.parametrize("results", [[], [samples.full()], [samples.broken()]], ids=["none", "one", "broken"])
def test_a_class_of_none_or_one_has_a_page(tmp_path, results):
    html = write_class_page(results, tmp_path, LAB, LAB.policy()).read_text(encoding="utf-8")
    assert f"{len(results)} submission" in html


def test_shares_of_a_row_are_of_the_whole_class():
    results = [samples.full() for _ in range(4)]
    for result, points, verdict in zip(
        results, (4, 2, 0, 0), (Verdict.PASSED, Verdict.FAILED, Verdict.FAILED, Verdict.NEEDS_REVIEW), strict=True
    ):
        row = next(row for row in result.rows if row.id == "task1.q_sample")
        row.points, row.verdict = points, verdict
    [line] = [line for line in row_lines(results, LAB) if line.id == "task1.q_sample"]
    assert (line.full, line.part, line.pending, line.mean) == (0.25, 0.25, 0.25, 2.0)


def test_the_histogram_counts_everybody_once():
    results = many(7)
    results[0].rows = [row for row in results[0].rows if row.verdict is Verdict.NEEDS_REVIEW]
    assert sum(count for _, count, _ in totals(results)) == 7
    assert len({label for label, _, _ in totals(results)}) == 11


def test_the_commonest_misconception_comes_first():
    results = many(3)
    for row in results[0].rows:
        row.diagnosis = None
    counts = [count for _, _, _, count in misconceptions(results)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 2


def test_three_hundred_submissions_make_a_page_that_a_browser_takes(tmp_path):
    began = cpu_seconds()
    path = write_class_page(many(300), tmp_path, LAB, LAB.policy())
    assert cpu_seconds() - began < 20
    assert path.stat().st_size < 400_000


def test_a_page_that_fails_costs_no_grades(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("grader.output.class_page.render", lambda *_: 1 / 0)
    folder = build(tmp_path / "7")
    assert cli.main(["grade", str(folder), "--out", str(tmp_path / "out"), "--only", "task2.cosine"]) == 0
    assert "class.html was not written" in capsys.readouterr().err


def test_one_submission_gets_two_lines_among_the_remarks_and_hides_nobody_elses():
    loud, *others = many(6)
    loud.id, loud.remarks = "loud", [f"remark {number:02d}" for number in range(30)] + ["shared", "common"]
    for number, other in enumerate(others):
        other.id, other.remarks = f"{number}", ["common", "shared"][: 1 + number % 2]
    lines = remarks([loud, *others])
    assert [text for text, ids, _ in lines if "loud" in ids] == [
        "remark 00",
        "remark 01 (and 30 more, see the report)",
    ]
    assert {text: (ids, count) for text, ids, count in lines[2:]} == {
        "shared": (["1", "3"], 3),
        "common": (["0", "1", "2", "3", "4"], 6),
    }
