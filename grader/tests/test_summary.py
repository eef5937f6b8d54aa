"""`summary.csv` and the table on stdout."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rich.cells import cell_len

from grader.lab import LAB
from grader.output.summary import table, what_went_wrong, write_summary
from grader.records import Result, Row, Verdict
from grader.tests import samples
from grader.text import field, visible


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_a_submission_and_pending_rows_are_empty(tmp_path):
    path = tmp_path / "summary.csv"
    write_summary([samples.full(), samples.broken(), samples.mixed()], path, LAB)
    full, broken, mixed = read(path)
    assert list(full) == [
        "id",
        "points",
        "pending",
        "max",
        *(row.id for row in LAB.rubric if row.points),
        "companions",
        "needs_person",
        "problem",
        "sandbox",
    ]
    assert (full["id"], full["points"], full["pending"], full["max"]) == ("412551001", "50", "60", "110")
    assert (full["task1.q_sample"], full["task2.fid"]) == ("4", "")
    assert mixed["needs_person"].startswith("task1.compute_loss:grader_error task1.fig_q_sample:needs_")
    assert (mixed["task1.compute_loss"], mixed["task1.p_sample"]) == ("", "3")
    assert (broken["id"], broken["sandbox"]) == ("陳小明_412551003", "none")
    assert broken["problem"].startswith("412551003_lab1.zip is not a ZIP archive: it starts with 'Rar!'")
    assert broken["task1.q_sample"] == ""


def test_rows_outside_the_rubric_come_last(tmp_path):
    result = samples.full()
    result.rows.insert(0, Row("task3.new", 2, Verdict.PASSED, 2))
    write_summary([samples.full(), result], tmp_path / "summary.csv", LAB)
    first, second = read(tmp_path / "summary.csv")
    assert list(second)[list(second).index("companions") - 1] == "task3.new"
    assert (first["task3.new"], second["task3.new"]) == ("", "2")


def test_companions_that_were_tried_share_a_column_and_others_are_not_told_of(tmp_path):
    write_summary([samples.full(), samples.companions()], tmp_path / "summary.csv", LAB)
    first, second = read(tmp_path / "summary.csv")
    assert (first["companions"], second["companions"]) == ("", "extra.forward_step:failed extra.train_step:passed")
    assert what_went_wrong(samples.full()) == ""
    assert what_went_wrong(samples.companions()) == "failed: forward_step"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("＝1", "'＝1"),
        ("\r=1", "'=1"),
        (" =1", "'=1"),
        ("a;=cmd|' /C calc'!A0", "a;'=cmd|' /C calc'!A0"),
        ("412551014", "412551014"),
        ("a-b", "a-b"),
        ("two\nlines", "two lines"),
        ("\x1b[2J", "⟨U+001B⟩[2J"),
    ],
)
def test_no_text_cell_is_a_formula(text, expected):
    assert field(text) == expected


def test_no_cell_of_a_hostile_class_is_a_formula(tmp_path):
    hostile = [Result(text, "", "", 0, text, {}, [], problem=text) for text in samples.HOSTILE]
    write_summary([*hostile, samples.hostile()], tmp_path / "summary.csv", LAB)
    for line in csv.reader((tmp_path / "summary.csv").read_text("utf-8").splitlines()):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)


def test_the_summary_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("old")

    def results():
        yield samples.full()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_summary(results(), path, LAB)
    assert path.read_text() == "old"
    write_summary([], path, LAB)
    assert [file.name for file in tmp_path.iterdir()] == ["summary.csv"]
    assert path.read_text().startswith("id,points,pending,max,task1.simplenet,")


def test_the_table_aligns_wide_characters():
    told = table([samples.full(), samples.untouched(), samples.broken(), samples.mixed()], colour=False)
    assert (
        told
        == """\
id                points  pending  what went wrong
412551001         50/110       60
412551002          0/110       60  not implemented: 13 rows
陳小明_412551003     0/0        0  412551003_lab1.zip is not a ZIP archive: it starts with 'Rar!', \
which is RAR. O…
412551014         16/110       64  grader error: compute_loss; p_sample: the variance is β, \
not the posterior vari…"""
    )
    lines = told.split("\n")
    assert {cell_len(line[: line.index("  ", line.index("/"))]) for line in lines[1:]} == {24}


def test_colour_only_if_asked():
    results = [samples.full(), samples.broken(), samples.untouched()]
    plain, painted = table(results, False).split("\n"), table(results, True).split("\n")
    assert "\x1b" not in "".join(plain)
    assert painted == [f"\x1b[{code}m{line}\x1b[0m" for code, line in zip((1, 32, 31, 33), plain, strict=True)]


def test_escape_sequences_and_long_ids_do_not_reach_the_terminal():
    told = table([Result(text, "", "", 0, "", {}, [], problem=text) for text in samples.HOSTILE], False)
    assert len(told.split("\n")) == 1 + len(samples.HOSTILE)
    assert all(character.isprintable() or character == "\n" for character in told)
    assert max(cell_len(line) for line in told.split("\n")) < 140


def test_an_empty_class_is_a_head_line():
    assert table([], False) == "id  points  pending  what went wrong"


def test_visible_keeps_honest_text():
    honest = "β̃_t = 1 − ᾱ, 中文 עברית 👩\u200d💻 é\n\tindented"
    assert visible(honest) == honest
    assert visible("a\r\nb\rc") == "a\nb⟨U+000D⟩c"
    assert visible("abcdef", 4) == "abcd … (2 more characters)"
