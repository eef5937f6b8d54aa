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
    seed: int = 0  # of this submission, for what is drawn from its models; the run's own is kept from its code

    @property
    def has_artifacts(self) -> bool:
        """Whether there is a folder for this id; a link to another one's is none."""
        place = self.artifacts
        if place is None or not place.is_dir():
            return False
        return not (place.is_symlink() and place.resolve().is_relative_to(place.parent.resolve()))

    def for_a_person(self, row: RubricRow, message: str = "", **rest: Any) -> Row:
        """The row with its points pending; without a message, the place in the report is named."""
        said = message or f"a person judges this row: {self.pages.where(row)}"
        return Row(row.id, row.points, Verdict.NEEDS_REVIEW, message=said, **rest)
