"""What a row that a person decides about is judged by: the pages of the report, and what runs left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.labs import RubricRow
from grader.records import Row, Verdict
from grader.running.report_pages import Pages

if TYPE_CHECKING:
    from grader.running.grading import Order


@dataclass
class Evidence:
    """Of one submission; `notes` is what a lab's judge keeps from one row to the next."""

    order: Order
    pages: Pages
    code: dict[str, Path]  # the folders of the halves that were handed in
    artifacts: Path | None  # this student's folder, if there is one
    folder: Path  # for figures
    notes: dict[str, Any] = field(default_factory=dict)

    def for_a_person(self, row: RubricRow, message: str = "", **rest: Any) -> Row:
        """The row with its points pending; without a message, the place in the report is named."""
        said = message or f"a person judges this row: {self.pages.where(row)}"
        return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=said, **rest)
