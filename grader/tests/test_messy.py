"""Messy and hostile submissions: what can be graded is graded, and the rest of the class with it."""

import json

import pytest

from grader import cli
from grader.classroom import messy
from grader.tests.class_run import CODE_ROWS, account, rows_of


def grade(paths, out, *options):
    """(exit code, {id: result.json}) of one run."""
    code = cli.main(["grade", *map(str, paths), "--out", str(out), "--no-training", "--seed", "1", "--jobs", "2",
                     *options])
    results = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*/result.json")}
    return code, results


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messy")
    paths = [case.write(folder / "built", folder / "submissions") for case in messy.CASES]
    code, results = grade(paths, folder / "grades")
    assert code == cli.OK
    return results


@pytest.mark.parametrize("case", messy.CASES, ids=lambda case: case.id)
def test_a_messy_submission_loses_only_what_is_wrong_with_it(graded, case):
    result = graded[case.id]
    assert result["problem"] is None
    rows = rows_of(result)
    for row_id in CODE_ROWS:
        row, due = rows[row_id], case.suffers.get(row_id, "passed")
        assert row["verdict"] == due, f"due: {due}\n{account(row)}\n{result['remarks']}"
        assert row["points"] == row["max"] or due != "passed", account(row)
        assert all(text in row["message"] for text in case.says.get(row_id, ())), account(row)
    for text in case.remarks:
        assert any(text in remark for remark in result["remarks"]), (text, result["remarks"])
