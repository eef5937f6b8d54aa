"""Runs the tests marked gpu: by pytest, or where that is missing the functions of test_gpu.py, which needs none."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from grader.tools.gpu.machine import REPOSITORY
from grader.tools.gpu.record import rows
from grader.tools.gpu.session import Session

TESTS = REPOSITORY / "grader" / "tests"
WITHOUT_PYTEST = "grader.tests.test_gpu"
START = """
import sys
from grader.tools.gpu.bare import install_where_missing
install_where_missing()
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
DEVICE = "GPU_TESTS_ON"  # another device than cuda, for trials


def run(session: Session) -> None:
    if session.settings.trial:
        os.environ[DEVICE] = "cpu"
    if importlib.util.find_spec("pytest") is not None:
        session.note(by="pytest")
        _by_pytest(session)
    else:
        session.note(by=f"the functions of {WITHOUT_PYTEST}, as pytest is not installed")
        call_functions(session, import_module(WITHOUT_PYTEST))


def _by_pytest(session: Session) -> None:
    files = [str(file) for file in sorted(TESTS.glob("test_*.py")) if "pytest.mark.gpu" in file.read_text("utf-8")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        how = ["-q", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider", f"--junitxml={report}"]
        # No plugins but the tests' own: they may look for pydantic in earnest.
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-c", START, *how, *files]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, timeout=max(1.0, session.left() - 5))
        found = read_report(report) if report.is_file() else []
    session.note(tests=found)
    for test in found:
        session.check(test["name"], test["outcome"] == "passed", test["message"] or test["outcome"])
    session.check("tests were run", bool(found) and done.returncode in (0, 1), f"pytest ended with {done.returncode}")


def read_report(report: Path) -> list[dict[str, Any]]:
    """Name, outcome, seconds, first line of the message of each test in pytest's JUnit XML."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        problem = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if problem is None else {"failure": "failed"}.get(problem.tag, problem.tag)
        message = "" if problem is None else (problem.get("message") or "").strip().partition("\n")[0]
        about = {"name": case.get("name"), "outcome": outcome, "seconds": float(case.get("time") or 0)}
        found.append(about | {"message": message})
    return found


def call_functions(session: Session, module: ModuleType) -> None:
    """Every function test_...() of the module, those that ask for a tmp_path with a folder of their own."""
    found: list[dict[str, Any]] = []
    for name, function in vars(module).items():
        if name.startswith("test_") and inspect.isfunction(function):
            found.append(_called(name, function))
            session.note(tests=found)
            session.check(name, found[-1]["outcome"] == "passed", found[-1]["message"] or "passed")
    session.check("tests were run", bool(found), f"{len(found)} functions")


def _called(name: str, function: Callable[..., None]) -> dict[str, Any]:
    began, message = time.monotonic(), ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            function(*[Path(folder)] * ("tmp_path" in inspect.signature(function).parameters))
        except Exception as error:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}".partition("\n")[0]
    outcome = "failed" if message else "passed"
    return {"name": name, "outcome": outcome, "seconds": round(time.monotonic() - began, 1), "message": message}


def table(values: dict[str, Any]) -> list[str]:
    lines = rows(["test", "outcome", "seconds"])
    for test in values["tests"]:
        lines += rows([test["name"], test["outcome"], test["seconds"]], head=False)
    return lines
