"""Made-up submissions: the solved lab with one mistake, or with its TODOs solved in other styles, as plain data.

What the grader must say of each stands with it. `grader.tools.builder` writes them to a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from grader.records import Verdict

Pairs = list[tuple[str, str]]  # old text, new text


@dataclass(frozen=True)
class Case:
    """A submission that differs from the solved lab in one place.

    bodies: {name of a TODO block, which is its row's id: its new body}
    replace: {path of a file below the submission: [(old text, new text), ...]} outside of blocks
    files: {path: its whole content, or None to leave the file out}
    `row` is the one that suffers (None: every code row passes), with the points that it earns and the id of the
    diagnosis (None: nothing fits); every other row must pass untouched.
    """

    name: str
    row: str | None = None
    points: float = 0.0
    diagnosis: str | None = None
    bodies: dict[str, str] = field(default_factory=dict)
    replace: dict[str, Pairs] = field(default_factory=dict)
    files: dict[str, str | bytes | None] = field(default_factory=dict)
    verdict: Verdict = Verdict.FAILED


def mistake(
    row: str,
    diagnosis: str | None,
    points: float,
    body: str = "",
    *,
    name: str = "",
    replace: dict[str, Pairs] | None = None,
    verdict: Verdict = Verdict.FAILED,
) -> Case:
    """A case in the TODO block of the row. `name`: what follows the row in the case's name, if not the diagnosis."""
    label = f"{row.split('.')[1]}-{name or diagnosis}"
    return Case(label, row, points, diagnosis, {row: body} if body else {}, replace or {}, {}, verdict)


def swapped(text: str, *swaps: tuple[str, str]) -> str:
    """`text` with each old part replaced by its new one. Raises ValueError where there is no such part."""
    for old, new in swaps:
        if old not in text:
            raise ValueError(f"no {old!r} in the right answer")
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Style:
    """A right solution of one row: bodies of its TODO blocks, and edits outside of them (see Case).

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


def combined(name: str, parts: Iterable[Style | Case]) -> Case:
    """One submission with all of `parts`, each in a row of its own."""
    bodies: dict[str, str] = {}
    replace: dict[str, Pairs] = {}
    files: dict[str, str | bytes | None] = {}
    for part in parts:
        bodies |= part.bodies
        for path, pairs in part.replace.items():
            replace.setdefault(path, []).extend(pairs)
        files |= part.files if isinstance(part, Case) else {}
    return Case(name, bodies=bodies, replace=replace, files=files)
