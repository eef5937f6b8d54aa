"""All made-up submissions of the lab, gathered from the folders of its rows: what must be found, and what must pass."""

from __future__ import annotations

from functools import cache

from grader.judging.made_up import Case, Style, combined
from grader.lab import LAB
from grader.labs import RowKind

LEAST = 20  # submissions of right solutions


@cache
def mistakes(kind: RowKind = RowKind.CODE) -> tuple[Case, ...]:
    """Every mistake in the rows of a kind, in the rubric's order."""
    return tuple(case for row_id in _rows(kind) for case in LAB.room(row_id, "made_up").MISTAKES)


@cache
def styles(kind: RowKind = RowKind.CODE) -> dict[str, tuple[Style, ...]]:
    """Right solutions in other styles than `solutions/`: {row: its styles}."""
    return {row_id: tuple(LAB.room(row_id, "made_up").STYLES) for row_id in _rows(kind)}


@cache
def carried() -> dict[str, dict[str, Style]]:
    """{submission: {row: its style}}: one style in every row, so that a few submissions try them all.

    Rows have different numbers of styles, and mix; those with few repeat.
    """
    of_row = {row_id: found for row_id, found in styles().items() if found}
    count = max(LEAST, *map(len, of_row.values()))
    return {
        f"right-{number:02}": {row_id: found[number % len(found)] for row_id, found in of_row.items()}
        for number in range(count)
    }


@cache
def variants() -> tuple[Case, ...]:
    """The submissions of `carried`: each has full points in every code row."""
    return tuple(combined(name, parts.values()) for name, parts in carried().items())


def _rows(kind: RowKind) -> list[str]:
    return [row.id for row in LAB.rubric if row.kind is kind]
