"""Right solutions in other styles than `solutions/`: each of these submissions has full points in every code row.

A submission carries one style in every row, so that a few submissions try them all; rows with few styles repeat.
"""

from __future__ import annotations

from itertools import groupby

from grader.judging.made_up import Case, Style, combined
from grader.lab.made_up import styles_p_sample, styles_simplenet, styles_steps, styles_task1, styles_task2

STYLES: tuple[Style, ...] = (
    *styles_simplenet.STYLES,
    *styles_task1.STYLES,
    *styles_p_sample.STYLES,
    *styles_task2.STYLES,
    *styles_steps.STYLES,
)
BY_ROW: dict[str, list[Style]] = {row: list(styles) for row, styles in groupby(STYLES, key=lambda style: style.row)}
COUNT = max(20, *(len(styles) for styles in BY_ROW.values()))


def carried(number: int) -> dict[str, Style]:
    """The style of each row in submission `number` (from 0). Rows have different numbers of styles, and mix."""
    return {row: styles[number % len(styles)] for row, styles in BY_ROW.items()}


CARRIED: dict[str, dict[str, Style]] = {f"right-{number:02}": carried(number) for number in range(COUNT)}
CASES: tuple[Case, ...] = tuple(combined(name, styles.values()) for name, styles in CARRIED.items())
