"""The demo says where its reports are, or why there are none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grader.running.grading import FAULTS
from grader.tools import demo


@pytest.fixture
def grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of grades of a demo whose class is not built."""
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path / "demo")])
    monkeypatch.setattr(demo, "build_class", lambda folder: [])
    return tmp_path / "demo" / "grades"


def test_a_demo_that_went_well_names_a_report(grades, monkeypatch, capsys):
    monkeypatch.setattr(demo, "command_line", lambda args: 1)
    assert demo.main() == 0
    assert capsys.readouterr().out == f"open {grades}/412551003/report.html in a browser\n"


@pytest.mark.parametrize(("code", "left"), [(0, 3), (2, 2), (3, 3)])
def test_a_demo_that_failed_names_none_and_says_why(grades, monkeypatch, capsys, code, left):
    def command_line(args: list[str]) -> int:
        for student in ("1", "2"):
            (grades / student).mkdir(parents=True)
            (grades / student / FAULTS).write_text("task1.q_sample\nTraceback ...\nSandboxFault: no torch\n\n")
        return code

    monkeypatch.setattr(demo, "command_line", command_line)
    assert demo.main() == left
    said = capsys.readouterr()
    assert "open" not in said.out
    assert said.err.splitlines()[1:] == [
        "SandboxFault: no torch",
        f"the demo failed: `grade` ended with exit code {code} where 1 is right",
    ]
