"""Builds a submission out of `solutions/`, with chosen TODO bodies or whole files replaced."""

from __future__ import annotations

import shutil
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

from grader.judging.made_up import Case
from grader.lab import LAB
from grader.labs import Lab
from grader.submission.todo import Block, Segment, split

LEFT_BEHIND = frozenset({"__pycache__", ".ipynb_checkpoints", "results", "samples", "figures"})  # by who ran the lab
REPORT = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)


def build(
    folder: Path,
    bodies: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes | None] | None = None,
    replace: Mapping[str, list[tuple[str, str]]] | None = None,
    lab: Lab = LAB,
) -> Path:
    """Write a submission to `folder`, and return it.

    What `bodies`, `files` and `replace` are, grader.judging.made_up.Case says; bodies are indented like their block.
    Raises KeyError for a block and ValueError for a text that the lab does not have.
    """
    folder.mkdir(parents=True)
    left = dict(bodies or {})
    for half in lab.halves:
        top = lab.solutions / half.folder
        for source in sorted(top.rglob("*")):
            inside = source.relative_to(top)
            if LEFT_BEHIND & set(inside.parts) or not source.is_file():
                continue
            target = folder / half.folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".py":
                target.write_text(_filled(source.read_text(encoding="utf-8"), left), encoding="utf-8")
            else:
                shutil.copyfile(source, target)
    if left:
        raise KeyError(f"the lab has no TODO block {', '.join(left)}")
    (folder / "report.pdf").write_bytes(REPORT)
    for name, pairs in (replace or {}).items():
        _replace(folder / name, pairs)
    for name, content in (files or {}).items():
        _put(folder / name, content)
    return folder


def write(case: Case, folder: Path, lab: Lab = LAB) -> Path:
    """Build a made-up submission in `folder` / its name."""
    return build(folder / case.name, case.bodies, case.files, case.replace, lab)


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """Zip a built submission, below the folder `top` inside the ZIP if one is named."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{top}/{path.relative_to(folder)}" if top else str(path.relative_to(folder)))
    return archive


def _filled(text: str, bodies: dict[str, str]) -> str:
    """A solved file as a student hands it in: without nbgrader's markers, with the bodies asked for."""
    return "".join(_segment(segment, bodies) for segment in split(text))


def _segment(segment: Segment, bodies: dict[str, str]) -> str:
    if not isinstance(segment, Block):
        return segment.text
    lines = [
        line for line in segment.body.splitlines(keepends=True) if "### BEGIN" not in line and "### END" not in line
    ]
    body = "".join(lines)
    if segment.name in bodies:
        indent = segment.begin_marker[: len(segment.begin_marker) - len(segment.begin_marker.lstrip())]
        body = textwrap.indent(textwrap.dedent(bodies.pop(segment.name)).strip("\n") + "\n", indent)
    return segment.begin_marker + body + segment.end_marker


def _replace(path: Path, pairs: list[tuple[str, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        if old not in text:
            raise ValueError(f"{path.name} does not hold {old!r}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def _put(path: Path, content: str | bytes | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
