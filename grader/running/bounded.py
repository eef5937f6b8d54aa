"""What a row may hold: a stranger's text ends up in it, of any length and with any characters."""

from __future__ import annotations

from dataclasses import replace

from grader.records import Check, Row
from grader.text import visible

TEXT = 2000  # characters of a message, and of each of its fields
MOST_REMARKS, MOST_FIGURES = 20, 60
REMARK = 600  # characters


def text(value: str, limit: int = TEXT) -> str:
    """A text of bounded length, with what would steer a terminal spelt out."""
    return visible(value, limit)


def remarks(texts: list[str]) -> list[str]:
    """The first remarks, each cut, and how many there are beyond."""
    shown = [text(remark, REMARK) for remark in texts[:MOST_REMARKS]]
    over = len(texts) - len(shown)
    return [*shown, f"... and {over:,} more remarks"] if over else shown


def row(given: Row) -> Row:
    """The row with every text cut; how many checks it has is the judge's affair."""
    return replace(
        given,
        message=text(given.message),
        checks=list(map(_check, given.checks)),
        remarks=remarks(given.remarks),
        evidence=given.evidence[:MOST_FIGURES],
    )


def _check(check: Check) -> Check:
    return replace(
        check,
        id=text(check.id, 100),
        message=text(check.message),
        checked=text(check.checked),
        expected=text(check.expected),
        got=text(check.got),
        where=text(check.where),
        equation=text(check.equation),
    )
