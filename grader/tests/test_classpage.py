"""The page about a class, and the similar code that it shows."""

import copy
import re
import shutil
import time
from html.parser import HTMLParser

import pytest

from grader import cli
from grader.lab import LAB
from grader.lab.catalogue import variants
from grader.output.class_page import link, misconceptions, render, row_lines, totals, write_class_page
from grader.records import Verdict
from grader.submission import similarity
from grader.submission.similarity import LEAST, Likeness, fingerprints, likeness, shared
from grader.tests import samples
from grader.tools.builder import build, pack, write


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
    html = render(many(5), Likeness())
    found = next(row.diagnosis.title for row in samples.mixed().rows if row.diagnosis)
    assert found in html
    assert html.count("<circle") == 2
    assert "task1.simplenet" in html
    assert 'href="412500003/report.html"' in html


def test_companion_exercises_count_those_who_passed_of_those_who_tried():
    html = render([samples.full(), samples.companions(), samples.companions()], Likeness())
    assert "0 of 2" in html.partition("extra.forward_step")[2].partition("</tr>")[0]
    assert "2 of 2" in html.partition("extra.train_step")[2].partition("</tr>")[0]
    assert "extra.naive_skip" not in html


def test_nothing_that_a_student_wrote_is_markup(tmp_path):
    page = Page(render([samples.hostile(), samples.broken()], Likeness()))
    assert not page.tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    assert page.events == []
    assert all(re.fullmatch(r"[A-Za-z0-9%._~-]+/report\.html", target) for target in page.links)


@pytest.mark.parametrize("name", ["a b", "../x", "javascript:alert(1)", "陳小明", "a/b?c#d", "\ud800"])
def test_links_lead_to_the_report_whatever_the_id(name):
    assert re.fullmatch(r"[A-Za-z0-9%._~-]+/report\.html", link(name))


@pytest.mark.parametrize("results", [[], [samples.full()], [samples.broken()]], ids=["none", "one", "broken"])
def test_a_class_of_none_or_one_has_a_page(tmp_path, results):
    html = write_class_page(results, tmp_path).read_text(encoding="utf-8")
    assert f"{len(results)} submission" in html


def test_shares_of_a_row_are_of_the_whole_class():
    results = [samples.full() for _ in range(4)]
    for result, points, verdict in zip(
        results, (4, 2, 0, 0), (Verdict.PASSED, Verdict.FAILED, Verdict.FAILED, Verdict.NEEDS_REVIEW), strict=True
    ):
        row = next(row for row in result.rows if row.id == "task1.q_sample")
        row.points, row.verdict = points, verdict
    [line] = [line for line in row_lines(results) if line.id == "task1.q_sample"]
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
    began = time.monotonic()
    path = write_class_page(many(300), tmp_path)
    assert time.monotonic() - began < 20
    assert path.stat().st_size < 400_000


def test_a_page_that_fails_costs_no_grades(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("grader.output.class_page.render", lambda *_: 1 / 0)
    folder = build(tmp_path / "7")
    assert cli.main(["grade", str(folder), "--out", str(tmp_path / "out"), "--only", "task2.cosine"]) == 0
    assert "class.html was not written" in capsys.readouterr().err


# --- similar code


def test_renamed_variables_are_found_and_independent_answers_are_not(tmp_path):
    first, second = (write(case, tmp_path) for case in variants()[:2])
    copied = shutil.copytree(first, tmp_path / "copied")
    for file in copied.rglob("*.py"):
        text = re.sub(r"\b(xt|x0|x_t|noise|eps|alpha|mean)\b", r"my_\1", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
    found = likeness({"first": first, "second": pack(second, tmp_path / "second.zip"), "copied": copied}, LAB)
    [pair] = found.pairs
    assert {pair.left, pair.right} == {"first", "copied"}
    assert pair.share > 0.95
    assert any("my_" in passage.left + passage.right for passage in pair.passages)


def test_the_labs_own_text_is_not_similar_code(tmp_path):
    empty = {"task1.q_sample": "raise NotImplementedError", "task2.cosine": "raise NotImplementedError"}
    prints = [fingerprints(build(tmp_path / name, empty | {"task1.simplenet": "pass"}), LAB) for name in "ab"]
    own = sum(int(found.token_coverage) for found in prints[0].values())
    whole = sum(len(found.filtered_code) for found in prints[0].values())
    assert own < whole / 2


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\xff\xfe\x00", b"", b"x = 1\n", b"'" * 300_000])
def test_files_that_are_no_python_are_left_out_of_the_comparison(tmp_path, content):
    files = {
        f"{half}/{name}": content
        for half, names in (
            ("2d_plot_diffusion_todo", ("network.py", "ddpm.py")),
            ("image_diffusion_todo", ("scheduler.py", "model.py")),
        )
        for name in names
    }
    odd = build(tmp_path / "odd", files=files)
    found = likeness({"odd": odd, "same": odd, "gone": tmp_path / "gone.zip", "right": build(tmp_path / "right")}, LAB)
    assert found.pairs == []


def test_what_is_too_much_to_compare_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(similarity, "SECONDS", -1.0)
    folder = build(tmp_path / "a")
    assert likeness({"a": folder, "b": folder}, LAB).left_out == 1


def test_the_limit_lies_between_independent_answers_and_copies(tmp_path):
    prints = [fingerprints(write(case, tmp_path), LAB) for case in variants()[:6]]
    apart = max(shared(a, b) for number, a in enumerate(prints) for b in prints[number + 1 :])
    assert apart < LEAST - 0.2
    assert shared(prints[0], prints[0]) == 1.0
