"""An exporter for `nbgrader export`: a line a student with a column for each row, as nbgrader's own has totals only.

nbgrader export --exporter=grader.desk.exporter.RowsExporter --to grades.csv
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from traitlets import Unicode

from grader.desk.course import cell_name
from grader.files import write_atomically
from grader.labs import COURSE, named
from grader.text import field, number


class RowsExporter(ExportPlugin):
    """Writes a CSV in which no cell is a formula; rows that wait for a person are empty."""

    lab = Unicode(COURSE, help="package of the lab that was graded").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write the gradebook to `self.to`, grades.csv if that is not set."""
        lab = named(self.lab)
        rows = {cell_name(row.id): row for row in lab.rubric}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "name", *(field(row.id) for row in rows.values()), "total", "pending", "max"])
        for submission in gradebook.assignment_submissions(lab.assignment):
            grades = {grade.name: grade for notebook in submission.notebooks for grade in notebook.grades}
            student = submission.student.id
            scores = {name: self.score(grades.get(name), row.points, student) for name, row in rows.items()}
            known = [score for score in scores.values() if score is not None]
            pending = sum(row.points for name, row in rows.items() if scores[name] is None)
            writer.writerow(
                [
                    field(submission.student.id),
                    field(submission.student.last_name or ""),
                    *("" if score is None else number(score) for score in scores.values()),
                    number(sum(known)),
                    number(pending),
                    number(sum(row.points for row in rows.values())),
                ]
            )
        write_atomically(Path(self.to or "grades.csv"), text.getvalue())

    def score(self, grade: object, most: float, student: str) -> float | None:
        """The points of a row: those that a person typed, else the automatic ones; out of bounds is told."""
        manual, auto = getattr(grade, "manual_score", None), getattr(grade, "auto_score", None)
        score = auto if manual is None else manual
        if score is None or 0 <= score <= most:
            return score
        bounded = min(max(0.0, float(score)), most)
        self.log.warning(
            "%s, %s: %g of %g points are typed; %g are exported",
            student,
            getattr(grade, "name", ""),
            score,
            most,
            bounded,
        )
        return bounded
