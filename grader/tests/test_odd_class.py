"""A class with every odd submission in it, through the command line and on a busy machine: nobody stops the run."""

import json
import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from grader import cli
from grader.tests.odd_lab import PASSES, odd_lab
from grader.tests.test_strangers import nested
from grader.tests.test_unpack import zipped

CODE = {"odd_half/odd.py": b"x = 1\n"}
TWO_BYTES = ("# 計算雜訊的標準差 反向過程的平均值\n" * 60_000).encode("cp950")


def pipe(path: Path, _: object = None) -> None:
    os.mkfifo(path)


def files(content: dict[str, bytes]) -> Callable[[Path], object]:
    return lambda path: zipped(path, content)


# name -> how it is made, whether it can be graded
CLASS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "right": (files(CODE), True),
    "taken": (files(nested(CODE) | {"work.zip.unpacked": b""}), True),
    "long": (files(nested(CODE, "w" * 251 + ".zip")), True),
    "pipe": (pipe, False),
    "deep": (files(CODE | {"d/" * 200 + "x.py": b""}), False),
    "both": (files(CODE | {"odd_half/a": b"", "odd_half/a/b.py": b""}), False),
    "bytes": (files(CODE | {f"odd_half/part{number}.py": TWO_BYTES for number in range(30)}), True),
    "many": (files(CODE | {f"odd_half/part{number}.py": b"#" * 3_400_000 for number in range(300)}), True),
    "modules": (files(CODE | {"odd_half/x.py/y.py": b"", "odd_half/" + "n" * 250 + ".py": b""}), True),
    "lines": (files(CODE | {"odd_half/odd.py": b"x = 1\n" * 800_000}), True),
}


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def graded(tmp_path, names):
    lab = odd_lab(tmp_path, {"first": PASSES})
    (tmp_path / "in").mkdir()
    for name in names:
        CLASS[name][0](tmp_path / "in" / f"{name}_odd.zip")
    paths = map(str, sorted((tmp_path / "in").iterdir()))
    code = cli.main(["grade", *paths, "--out", str(tmp_path / "out"), "--sandbox", "none"], lab)
    results = {name: json.loads((tmp_path / "out" / name / "result.json").read_text()) for name in names}
    assert (tmp_path / "out" / "class.html").is_file()
    return code, results


def test_names_and_pipes_cost_their_own_submission_alone(tmp_path, capsys):
    names = ["right", "taken", "long", "pipe"]
    code, results = graded(tmp_path, names)
    assert code == cli.UNGRADED
    assert {name: result["points"] for name, result in results.items()} == {
        "right": 5,
        "taken": 5,
        "long": 5,
        "pipe": 0,
    }
    assert "not a plain file" in results["pipe"]["problem"]


@pytest.mark.slow
def test_a_class_of_them_all_is_graded_on_a_busy_machine(tmp_path, capsys, busy):
    began = time.monotonic()
    code, results = graded(tmp_path, list(CLASS))
    assert code == cli.UNGRADED
    assert {name for name, result in results.items() if result["problem"]} == {
        name for name, (_, fine) in CLASS.items() if not fine
    }
    assert all(result["points"] == 5 * CLASS[name][1] for name, result in results.items())
    assert max(result["duration_s"] for result in results.values()) < 120
    assert time.monotonic() - began < 400
    size = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert size < 20 << 20
    assert zipfile.is_zipfile(tmp_path / "in" / "many_odd.zip")
