"""Files of `solutions/` without their solutions, and a look for lines of these in what is to be given out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from grader.errors import UsageError
from grader.submission import todo

MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
TRIVIAL = 10  # characters without white space; shorter lines, such as `return x`, give nothing away

_SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION[^\n]*", re.MULTILINE | re.DOTALL)
_HIDDEN_TESTS = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[^\n]*\n?", re.MULTILINE | re.DOTALL)


def student_version(path: Path) -> bytes:
    """A file of `solutions/` without its solutions."""
    if path.suffix == ".py":
        return clear_source(path.read_text(encoding="utf-8")).encode()
    if path.suffix == ".ipynb":
        return clear_notebook(path.read_text(encoding="utf-8")).encode()
    return path.read_bytes()


def clear_source(text: str) -> str:
    """A `.py` file with each solution replaced by a `raise NotImplementedError` that names the TODO's id."""
    return "".join(
        _cleared(segment) if isinstance(segment, todo.Block) else segment.text for segment in todo.split(text)
    )


def _cleared(block: todo.Block) -> str:
    stub = rf'\1raise NotImplementedError("TODO {block.name}")'
    body = _HIDDEN_TESTS.sub("", _SOLUTION.sub(stub, block.body))
    return block.begin_marker + body.rstrip("\n") + "\n" + block.end_marker


def clear_notebook(text: str) -> str:
    """A notebook through the steps of nbgrader's generate_assignment that need no database."""
    import nbformat
    from nbgrader import preprocessors as steps

    notebook = nbformat.reads(text, as_version=4)
    stub = {"python": 'raise NotImplementedError("TODO: replace this line with your code")'}
    resources: dict[str, object] = {}
    for step in (
        steps.LockCells(log=_quiet()),
        steps.ClearSolutions(code_stub=stub, log=_quiet()),
        steps.ClearOutput(log=_quiet()),
        steps.CheckCellMetadata(log=_quiet()),
        steps.ComputeChecksums(log=_quiet()),
        steps.ClearHiddenTests(log=_quiet()),
        steps.ClearMarkScheme(log=_quiet()),
        steps.ComputeChecksums(log=_quiet()),
        steps.CheckCellMetadata(log=_quiet()),
    ):
        notebook, resources = step.preprocess(notebook, resources)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id") or f"cell-{index:02d}"
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def check_for_leaks(files: Mapping[str, bytes], halves: tuple[str, ...], solved: Iterable[Path]) -> None:
    """Raises UsageError where a line of a solution stands in `files`, or one of nbgrader's markers in a half of it."""
    texts = {name: _source_text(name, data) for name, data in files.items()}
    for name, text in texts.items():
        for marker in MARKERS:
            if name.startswith(halves) and marker in text:
                raise UsageError(f"the release would leak: {name} contains the marker '{marker}'")
    squeezed = {name: _squeeze(text) for name, text in texts.items()}
    for line in solution_lines(solved):
        for name, text in squeezed.items():
            if _squeeze(line) in text:
                raise UsageError(f"the release would leak: {name} has the solution line '{line.strip()}'")


def solution_lines(solved: Iterable[Path]) -> list[str]:
    """Every line of every solution region and hidden test that is long enough to give something away."""
    found: list[str] = []
    for path in solved:
        if path.suffix in (".py", ".ipynb"):
            found += _hidden_lines(_source_text(path.name, path.read_bytes()))
    return [line for line in found if len(_squeeze(line)) >= TRIVIAL]


def _hidden_lines(text: str) -> Iterable[str]:
    hidden = False
    for line in text.splitlines():
        if re.search(r"### BEGIN (SOLUTION|HIDDEN TESTS|MARK SCHEME)", line):
            hidden = True
        elif re.search(r"### END (SOLUTION|HIDDEN TESTS|MARK SCHEME)", line):
            hidden = False
        elif hidden:
            yield re.sub(r"\s+#\s.*$", "", line)  # the comment may well stand in the task's text


def _source_text(name: str, data: bytes) -> str:
    """The text of a file; of a notebook, that of its cells."""
    text = data.decode("utf-8", errors="replace")
    if not name.endswith(".ipynb"):
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _quiet() -> logging.Logger:
    """nbgrader logs errors that it also raises; here the exception alone counts."""
    logger = logging.getLogger("grader.lab.clearing")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
