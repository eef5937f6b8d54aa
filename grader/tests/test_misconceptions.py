"""Every made-up mistake is judged and named as it must be, every right solution in another style passes, row by row."""

from collections import Counter

import pytest

from grader.judging.made_up import Case, combined
from grader.lab import LAB
from grader.lab.catalogue import mistakes, styles
from grader.labs import RowKind
from grader.tests.in_process import Workbench, account

JUDGED = [row.id for row in LAB.rubric if row.kind in (RowKind.CODE, RowKind.COMPANION)]
MISTAKES = (*mistakes(), *mistakes(RowKind.COMPANION))
STYLES = [style for kind in (RowKind.CODE, RowKind.COMPANION) for found in styles(kind).values() for style in found]
KNOWN = {(row, entry.id) for row in JUDGED for entry in LAB.misconceptions(row)}
TRIED = {(case.row, case.diagnosis) for case in MISTAKES if case.diagnosis}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with Workbench(tmp_path_factory.mktemp("bench")) as workbench:
        yield workbench


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.name)
def test_a_mistake_gets_its_verdict_its_points_and_its_name(bench, case):
    row = bench.judged(case, case.row)
    found = row.diagnosis.id if row.diagnosis else None
    due = (case.verdict, case.points, case.diagnosis)
    assert (row.verdict, row.points, found) == due, f"due: {due}\n{account(row)}"


@pytest.mark.parametrize("style", STYLES, ids=lambda style: f"{style.row}-{style.name}")
def test_a_right_solution_in_another_style_gets_full_points(bench, style):
    row = bench.judged(combined(style.name, [style]), style.row)
    assert (row.verdict, row.points) == ("passed", row.max), account(row)


@pytest.mark.parametrize("row_id", JUDGED)
def test_the_solved_lab_gets_full_points(bench, row_id):
    row = bench.judged(Case("solved"), row_id)
    assert (row.verdict, row.points) == ("passed", row.max), account(row)


def test_every_row_has_mistakes_and_styles_and_no_two_share_a_name():
    assert {case.row for case in MISTAKES} == {style.row for style in STYLES} == set(JUDGED)
    names = Counter([case.name for case in MISTAKES] + [(style.row, style.name) for style in STYLES])
    assert [name for name, count in names.items() if count > 1] == []


def test_every_diagnosis_of_a_mistake_is_in_the_catalogue_of_its_row():
    assert TRIED - KNOWN == set()


@pytest.mark.parametrize("row_id", JUDGED)
def test_no_misconception_is_listed_twice(row_id):
    ids = [entry.id for entry in LAB.misconceptions(row_id)]
    assert len(set(ids)) == len(ids)
