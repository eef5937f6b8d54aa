"""Builds a submission out of `solutions/`, with chosen TODO bodies or whole files replaced."""

from __future__ import annotations

import shutil
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

from grader.todo import Block, Segment, split

SOLUTIONS = Path(__file__).resolve().parent.parent.parent / "solutions"
TASK1, TASK2 = "2d_plot_diffusion_todo", "image_diffusion_todo"
MADE_HERE = {"__pycache__", "results", "samples", "figures"}  # by someone who ran the lab in its folder
# Reverse steps that read self.sigmas are of students who have made that table once, at the end of __init__.
END_OF_INIT = "        self.sigma_type = sigma_type\n"
SIGMAS = """\
        before = torch.cat([torch.ones(1), self.alphas_cumprod[:-1]])
        self.register_buffer("sigmas", ((1 - before) / (1 - self.alphas_cumprod) * self.betas).sqrt())
"""
REPORT = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)


def build(
    folder: Path,
    bodies: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes | None] | None = None,
    replace: Mapping[str, list[tuple[str, str]]] | None = None,
) -> Path:
    """Write a submission to `folder`, and return it.

    bodies: {name of a TODO block, such as "task1.q_sample": its new body}, indented like the block.
    replace: {path such as "image_diffusion_todo/model.py": [(old text, new text), ...]} outside of blocks.
    files: {path: its whole content, or None to leave the file out}.
    Raises KeyError for a block and ValueError for a text that the lab does not have.
    """
    folder.mkdir(parents=True)
    left = dict(bodies or {})
    for half in (TASK1, TASK2):
        for source in sorted((SOLUTIONS / half).rglob("*")):
            path = source.relative_to(SOLUTIONS)
            if MADE_HERE & set(path.parts) or not source.is_file():
                continue
            target = folder / path
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
    scheduler = folder / TASK2 / "scheduler.py"
    if "self.sigmas" in scheduler.read_text(encoding="utf-8"):
        _replace(scheduler, [(END_OF_INIT, END_OF_INIT + SIGMAS)])
    for name, content in (files or {}).items():
        _put(folder / name, content)
    return folder


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
