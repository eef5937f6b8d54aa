"""`export gradescope`: results.json keeps to Gradescope's documented format, whatever students write."""

import json
import re
import shutil
from html.parser import HTMLParser

import jsonschema
import pytest

from grader import cli
from grader.lab import LAB
from grader.output.formats.gradescope.results import VISIBILITIES, to_gradescope
from grader.records import Check, Result, Row, Verdict
from grader.tests import samples

FORMATS = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
SHOWN = {"enum": list(VISIBILITIES)}
# https://gradescope-autograders.readthedocs.io/en/latest/specs/, with nothing that it does not name.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tests", "score"],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "integer", "minimum": 0},
        "output": {"type": "string"},
        "output_format": FORMATS,
        "test_output_format": FORMATS,
        "test_name_format": FORMATS,
        "visibility": SHOWN,
        "stdout_visibility": SHOWN,
        "extra_data": {"type": "object"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["score", "max_score", "name", "output"],
                "properties": {
                    "score": {"type": "number", "minimum": 0},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string", "minLength": 1},
                    "name_format": FORMATS,
                    "number": {"type": "string", "pattern": r"^\d+(\.\d+)*$"},
                    "output": {"type": "string"},
                    "output_format": FORMATS,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": SHOWN,
                    "extra_data": {"type": "object"},
                },
            },
        },
        "leaderboard": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "value"],
                "properties": {
                    "name": {"type": "string"},
                    "value": {"type": ["number", "string"]},
                    "order": {"enum": ["asc", "desc"]},
                },
            },
        },
    },
}
TAGS = {"p", "b", "i", "div", "pre", "span", "img", "sub", "sup"}


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def document(result, folder, **rest):
    data = json.loads(to_gradescope(result, folder, LAB, **rest), parse_constant=lambda name: pytest.fail(name))
    jsonschema.validate(data, SCHEMA)
    return data


def by_row(data):
    return {test["name"].split(":")[0]: test for test in data["tests"]}


@pytest.mark.parametrize("make", [samples.full, samples.untouched, samples.broken, samples.mixed, samples.hostile])
def test_every_result_keeps_to_the_format(make, tmp_path):
    result = make()
    data = document(result, tmp_path)
    assert len(data["tests"]) == len(result.shown)
    assert data["score"] == result.points == pytest.approx(sum(test["score"] for test in data["tests"]))


def test_a_row_is_a_test_with_points_and_what_went_wrong(tmp_path):
    tests = by_row(document(samples.mixed(tmp_path), tmp_path))
    passed, partial = tests["task1.q_sample"], tests["task1.p_sample"]
    assert (passed["number"], passed["score"], passed["max_score"], passed["status"]) == ("1.2", 4, 4, "passed")
    assert (partial["score"], partial["status"], partial["tags"]) == (3, "failed", ["task1", "partial"])
    assert "Likely: <b>the variance is β, not the posterior variance β̃</b>" in partial["output"]
    assert "<b>where</b> <pre>p_sample, t = 1, batch of 20000</pre>" in partial["output"]
    assert partial["output"].count(samples.BETA.hint) == 1
    assert '<img src="data:image/png;base64,' in passed["output"]


def test_rows_that_wait_for_a_person_say_so_and_are_not_failed(tmp_path):
    tests = by_row(document(samples.mixed(), tmp_path))
    fid, fault = tests["task2.fid"], tests["task1.compute_loss"]
    assert (fid["score"], fid["max_score"], "status" in fid) == (0, 20, False)
    assert fid["name"].endswith("(pending)")
    assert "A person decides this row" in fid["output"]
    assert "That costs no marks" in fault["output"]
    assert "status" not in fault


def test_the_whole_says_what_is_pending_and_which_sandbox_it_was(tmp_path):
    result = samples.full()
    assert "50 of 110 points so far; 60 more are pending: a person decides." in document(result, tmp_path)["output"]
    result.sandbox = "user"
    assert "Sandbox: user, the weaker one" in document(result, tmp_path)["output"]


def test_what_could_not_be_graded_says_why(tmp_path):
    assert "Only ZIP archives are taken." in document(samples.broken(), tmp_path)["output"]


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_visibility_is_the_instructors_choice_and_the_graders_own_output_stays_hidden(visibility, tmp_path):
    data = document(samples.full(), tmp_path, visibility=visibility)
    assert {test["visibility"] for test in data["tests"]} == {data["visibility"]} == {visibility}
    assert data["stdout_visibility"] == "hidden"


def test_nothing_of_a_student_becomes_markup(tmp_path):
    data = document(samples.hostile(tmp_path), tmp_path)
    for test in data["tests"]:
        tags = Tags(test["output"]).found
        assert {tag for tag, _ in tags} <= TAGS
        assert all(not attributes or tag == "img" for tag, attributes in tags)
        assert "img" not in [tag for tag, _ in tags]  # fake.png is none of the grader's figures
        assert test["name_format"] == "text"
    assert data["output_format"] == "text"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]", json.dumps(data, ensure_ascii=False))


def with_fid(fid, trust="sampled"):
    row = Row.from_checks(
        "task2.fid",
        20,
        [Check("fid", Verdict.PARTIAL, 15, 20, f"FID {fid}")],
        measured={"fid": fid, "interval": [1, 2], "trust": trust},
    )
    return Result("1", "", "0.1.0", 0, "bubblewrap", {}, [row])


def test_the_leaderboard_is_by_fid_the_smallest_first(tmp_path):
    assert document(with_fid(17.1234), tmp_path)["leaderboard"] == [
        {"name": "FID", "value": 17.12, "order": "asc"},
        {"name": "Trust", "value": "sampled"},
    ]


@pytest.mark.parametrize("fid", [float("nan"), float("inf"), None, "12; DROP"])
def test_without_a_number_there_is_no_place_on_the_leaderboard(fid, tmp_path):
    assert document(with_fid(fid), tmp_path)["leaderboard"] == []
    assert document(samples.full(), tmp_path)["leaderboard"] == []


def test_a_class_becomes_a_folder_for_each_submission(tmp_path):
    out = tmp_path / "grades"
    for result in (samples.full(), samples.mixed()):
        (out / result.id).mkdir(parents=True)
        (out / result.id / "result.json").write_text(result.to_json(), encoding="utf-8")
    assert (
        cli.main(["export", "gradescope", str(out), "--to", str(tmp_path / "to"), "--visibility", "after_published"])
        == 0
    )
    for name in ("412551001", "412551014"):
        data = json.loads((tmp_path / "to" / name / "results.json").read_text(encoding="utf-8"))
        jsonschema.validate(data, SCHEMA)
        assert data["visibility"] == "after_published"


def test_one_submission_goes_to_stdout(tmp_path, capfd):
    out = tmp_path / "grades"
    (out / "412551001").mkdir(parents=True)
    (out / "412551001" / "result.json").write_text(samples.full().to_json(), encoding="utf-8")
    assert cli.main(["export", "gradescope", str(out)]) == 0
    jsonschema.validate(json.loads(capfd.readouterr().out), SCHEMA)
    shutil.rmtree(out)
