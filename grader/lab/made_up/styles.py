"""A way to solve one TODO, and how several of them go into one submission."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from grader.judging.cases import Case
from grader.tools.builder import TASK1, TASK2

DDPM, NETWORK = f"{TASK1}/ddpm.py", f"{TASK1}/network.py"
SCHEDULER, MODEL = f"{TASK2}/scheduler.py", f"{TASK2}/model.py"

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Style:
    """A right solution of one row: bodies of its TODO blocks, and edits outside of them (see builder.build).

    What it replaces must not be what a style of another row replaces, as one submission carries one style a row.
    """

    row: str
    name: str
    bodies: dict[str, str] = field(default_factory=dict)
    replace: dict[str, Pairs] = field(default_factory=dict)


def body(row: str, name: str, text: str, replace: dict[str, Pairs] | None = None) -> Style:
    """A style that fills the one TODO block of its row."""
    return Style(row, name, {row: text}, replace or {})


def before(path: str, anchor: str, text: str) -> dict[str, Pairs]:
    """An edit of `path`: `text` goes in front of `anchor`."""
    return {path: [(anchor, text + anchor)]}


def combined(name: str, styles: Iterable[Style]) -> Case:
    """One submission with all of `styles`; every code row of it is right."""
    bodies: dict[str, str] = {}
    replace: dict[str, Pairs] = {}
    for style in styles:
        bodies |= style.bodies
        for path, pairs in style.replace.items():
            replace.setdefault(path, []).extend(pairs)
    return Case(name, bodies=bodies, replace=replace)
