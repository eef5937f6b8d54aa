"""Messy and hostile submissions: what can be graded is graded, and the rest of the class with it."""

import json

import pytest

from grader import cli
from grader.tests import hostile, messy
from grader.tests.class_run import CODE_ROWS, account, rows_of
from grader.tools.builder import build


def grade(paths, out, *options):
    """(exit code, {id: result.json}) of one run."""
    code = cli.main(
        ["grade", *map(str, paths), "--out", str(out), "--no-training", "--seed", "1", "--jobs", "2", *options]
    )
    results = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*/result.json")}
    return code, results


def earned(result):
    """Points of the code rows."""
    return sum(row["points"] for row in result["rows"] if row["id"] in CODE_ROWS)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messy")
    paths = [case.write(folder / "built", folder / "submissions") for case in messy.CASES]
    code, results = grade(paths, folder / "grades")
    assert code == cli.OK
    return results


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def besieged(tmp_path_factory):
    """A solved submission among attackers: (exit code, results, folder of the run)."""
    folder = tmp_path_factory.mktemp("hostile")
    policy = folder / "policy.toml"
    policy.write_text(hostile.SHORT_LIMITS)
    paths = [case.write(folder / "built", folder / "submissions") for case in (hostile.STUBBORN, hostile.FORGER)]
    for case in hostile.BROKEN:
        paths.append(folder / "submissions" / f"{case.name}_lab1.zip")
        case.make(paths[-1])
    paths += [build(folder / "submissions" / name) for name in ("summary.csv", "..evil")]
    code, results = grade(paths, folder / "grades", "--policy", str(policy))
    return code, results, folder


@pytest.mark.slow
def test_code_that_attacks_costs_its_own_row_alone(besieged):
    _, results, _ = besieged
    rows = rows_of(results["stubborn"])
    for row_id in CODE_ROWS:
        row = rows[row_id]
        if row_id in hostile.UNSETTLED:
            assert row["verdict"] in ("crashed", "timeout", "out_of_memory", "failed"), account(row)
            assert row["points"] == 0, account(row)
        else:
            assert row["verdict"] == hostile.STUBBORN.suffers.get(row_id, "passed"), account(row)
        assert all(text in row["message"] for text in hostile.STUBBORN.says.get(row_id, ())), account(row)


@pytest.mark.slow
@pytest.mark.parametrize("case", hostile.BROKEN, ids=lambda case: case.name)
def test_a_broken_archive_gets_a_clear_problem_and_no_points(besieged, case):
    _, results, _ = besieged
    result = results[case.name]
    assert result["problem"]
    assert all(text in result["problem"] for text in case.problem), result["problem"]
    assert {row["verdict"] for row in result["rows"]} == {"missing"}
    assert result["points"] == 0


@pytest.mark.slow
def test_a_broken_archive_makes_the_exit_code_1_and_the_rest_of_the_class_is_graded(besieged):
    code, results, folder = besieged
    assert code == cli.UNGRADED
    assert [earned(results[name]) for name in ("evil", "summary.csv~2")] == [50.0, 50.0]
    lines = (folder / "grades" / "summary.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + len(results)


@pytest.mark.slow
def test_a_submission_cannot_forge_its_result(besieged):
    _, results, folder = besieged
    result = results["forger"]
    q_sample = rows_of(result)["task1.q_sample"]
    assert q_sample["verdict"] == "failed", account(q_sample)
    assert (earned(result), result["problem"]) == (46.0 + q_sample["points"], None)
    written = {path.name for path in (folder / "grades" / "forger").iterdir()}
    assert written <= {"result.json", "report.html", "q_sample.png", "submission.json", "code"}, written
    assert not (folder / "submissions" / "result.json").exists()
    assert '"points": 110.0' in (folder / "submissions" / "forger" / "result.json").read_text(), "handed-in files stay"


def test_in_brief_a_forger_and_a_broken_archive_stop_nobody(tmp_path):
    """The siege in a few seconds: two rows of the forger, and one archive of each kind of trouble at opening."""
    paths = [hostile.FORGER.write(tmp_path / "built", tmp_path / "submissions")]
    for case in hostile.BROKEN[:3]:
        paths.append(tmp_path / "submissions" / f"{case.name}_lab1.zip")
        case.make(paths[-1])
    rows = ["--only", "task1.q_sample", "--only", "task1.p_sample"]
    code, results = grade(paths, tmp_path / "grades", *rows)
    assert code == cli.UNGRADED
    assert all(results[case.name]["problem"] for case in hostile.BROKEN[:3])
    found = rows_of(results["forger"])
    assert (found["task1.q_sample"]["verdict"], found["task1.p_sample"]["verdict"]) == ("failed", "passed")
