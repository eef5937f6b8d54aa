"""A run that is killed again and again ends as one that nobody touched, and the command that shows it can fail."""

import json
import shutil

import pytest

from grader.tools import faults
from grader.tools.crowd import crowd


@pytest.mark.slow
@pytest.mark.alone
def test_a_few_kills_leave_the_class_as_it_would_have_been(tmp_path, capsys):
    assert faults.injected(tmp_path, kills=4, count=4, seed=1) == []
    assert "kill 4 of 4" in capsys.readouterr().err
    quiet, hurt = ({path.parent.name for path in (tmp_path / name).glob("*/result.json")} for name in ("quiet", "hurt"))
    assert len(quiet) == 4, "the class that nobody touched is whole"
    assert hurt == quiet


def test_what_differs_is_found(tmp_path):
    quiet, hurt = tmp_path / "quiet", tmp_path / "hurt"
    (quiet / "1").mkdir(parents=True)
    (quiet / "1" / "result.json").write_text(json.dumps({"points": 3, "duration_s": 1}))
    (quiet / "summary.csv").write_text("id,points\n1,3\n")
    shutil.copytree(quiet, hurt)
    assert faults.differences(quiet, hurt) == []
    (hurt / "1" / "result.json").write_text(json.dumps({"points": 3, "duration_s": 2}))
    assert faults.differences(quiet, hurt) == [], "durations may differ"
    (hurt / "1" / "result.json").write_text(json.dumps({"points": 4, "duration_s": 1}))
    (hurt / ".work").mkdir()
    (hurt / "summary.csv").write_text("id,points\n1,4\n")
    assert faults.differences(quiet, hurt) == [
        "summary.csv differs",
        "in one folder and not in the other: .work",
        "the result of 1 differs",
    ]


def test_the_made_up_class_depends_on_its_seed_alone(tmp_path):
    one, two, other = (crowd(tmp_path / name, 3, seed) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    contents = [[len(path.read_bytes()) for path in paths] for paths in (one, two, other)]
    assert contents[0] == contents[1] != contents[2]
