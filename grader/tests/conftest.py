"""What all tests share: how they are spread over processes, and a limit in minutes for the second tier."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A run in the background has SIGINT ignored, and its children inherit that; the tests that press Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # processes that share the cores: more threads would only be in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is worth most where minutes are short, and long files before short ones; the rest follows in its own order.
FIRST = (
    "test_misconceptions",
    "test_packed",
    "test_messy",
    "test_sandbox",
    "test_sandbox_user",
    "test_installation",
    "test_class_run",
    "test_export_autograder",
    "test_training",
    "test_artifacts",
    "test_stability",
)
LATE = "the minutes were up"
BEGAN = time.monotonic()


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Judges rows of made-up submissions, all by one worker."""
    from grader.tests.in_process import Workbench

    with Workbench(tmp_path_factory.mktemp("bench")) as workbench:
        yield workbench


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are no work for two: the threads would spend their time waiting for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def busy() -> Iterator[None]:
    """A machine that other people use as well: for each core a process that never rests."""
    spin = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="skip what has not begun by then, and say so")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order by worth."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("--minutes")
    if minutes is not None and time.monotonic() > BEGAN + 60 * minutes:
        pytest.skip(LATE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line about what `--minutes` left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    late = Counter(report.location[0].rpartition("/")[2] for report in skipped if LATE in str(report.longrepr))
    if late:
        files = ", ".join(f"{count} of {file}" for file, count in sorted(late.items()))
        terminalreporter.write_line(f"NOT REACHED, as {LATE}: {late.total()} tests ({files})", yellow=True)


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite gradebook as nbgrader makes it, which takes seconds: to be copied to where one is wanted."""
    from grader.desk.course import Course
    from grader.desk.gradebook import opened
    from grader.lab import LAB

    course = Course.of(tmp_path_factory.mktemp("empty"), None, LAB)
    course.prepare()
    with opened(course):
        pass
    return course.root / "gradebook.db"
