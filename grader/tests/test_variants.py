"""Right solutions in other styles get full points, each row by itself."""

from collections import Counter

import pytest

from grader.lab.catalogue import carried, styles, variants
from grader.tests.class_run import CODE_ROWS, account, grade_cases, rows_of


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    return grade_cases(variants(), tmp_path_factory.mktemp("variants"))


@pytest.mark.parametrize("case", variants(), ids=lambda case: case.name)
def test_right_solutions_in_other_styles_get_full_points(graded, case):
    rows = rows_of(graded[case.name])
    lost = [
        f"style {carried()[case.name][row_id].name} of {account(rows[row_id])}"
        for row_id in CODE_ROWS
        if (rows[row_id]["verdict"], rows[row_id]["points"]) != ("passed", rows[row_id]["max"])
    ]
    assert not lost, "\n\n".join(lost)


def test_every_code_row_has_styles_and_every_style_is_tried():
    assert {row for row, found in styles().items() if found} == set(CODE_ROWS)
    tried = Counter((style.row, style.name) for parts in carried().values() for style in parts.values())
    known = [(style.row, style.name) for found in styles().values() for style in found]
    assert set(tried) == set(known)
    assert len(set(known)) == len(known)
