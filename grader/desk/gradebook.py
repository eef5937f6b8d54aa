"""Writes a graded class into nbgrader's gradebook, beside what people typed there, and reads that back.

Only automatic scores are ever set. nbgrader's own autograde is never run: it executes notebooks, and it gives full
credit for output that is none.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.desk.course import NOTEBOOK, Course, cell_name, student_id, without_password
from grader.desk.manual import Manual
from grader.errors import UsageError
from grader.files import write_atomically
from grader.labs import Lab
from grader.records import PENDING, Result, Row
from grader.results import graded
from grader.text import one_line

if TYPE_CHECKING:
    from nbgrader.api import Gradebook

NO_MARKUP = str.maketrans("<>[]$\\`", "‹›()＄＼'")  # the feedback takes a comment for Markdown
WRITTEN = "written.json"  # digests of the results that the gradebook holds


@contextmanager
def opened(course: Course) -> Iterator[Gradebook]:
    """The course's gradebook. Raises UsageError, without the password, where it cannot be reached."""
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SAWarning, SQLAlchemyError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of nbgrader's own relations
        try:
            with _scripts_on_path():
                book = Gradebook(course.url, course.lab.name)
        except (SQLAlchemyError, ImportError) as error:
            why = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]
            raise UsageError(f"the gradebook {without_password(course.url)} cannot be opened: {why}") from None
        try:
            yield book
        finally:
            book.close()


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """nbgrader starts `alembic` by name; that lies beside this Python, whose environment may not be activated."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join(filter(None, [sysconfig.get_path("scripts"), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def write_class(course: Course, results: list[Result]) -> int:
    """Bring the gradebook and the notebooks of evidence up to date with `results`; how many students were written.

    A result that is in the gradebook already is left alone, so that the work can be stopped and taken up.
    """
    from grader.desk.evidence import notebook_of

    course.prepare()
    count = 0
    with opened(course) as book:
        _define(book, course.lab)
        there = {submission.student_id for submission in _submissions(book, course)}
        done = {student: digest for student, digest in _written(course).items() if student in there}
        _tell_of(there - {student_id(result.id) for result in results})
        for result in results:
            student, digest = student_id(result.id), _digest(course.out / result.id / "result.json", course)
            if done.get(student) == digest and (course.evidence(student) / f"{NOTEBOOK}.ipynb").is_file():
                continue
            # The evidence first: whoever sees a new score at the desk has to find there why.
            _write_notebook(course.evidence(student), notebook_of(result, course.out / result.id, course.lab))
            _write_student(book, student, result, course)
            done[student] = digest
            count += 1
            if count % 50 == 0:
                _keep(course, done)
                print(f"gradebook: {count} students", file=sys.stderr, flush=True)
    _keep(course, done)
    return count


def _tell_of(others: set[str]) -> None:
    """Name students of the gradebook who are not in this class; what people typed about them is not ours to remove."""
    if others:
        named = ", ".join(sorted(others)[:5]) + (" ..." if len(others) > 5 else "")
        print(
            f"gradebook: {len(others)} students have no result here and are left as they are: {named}", file=sys.stderr
        )


def _define(book: Gradebook, lab: Lab) -> None:
    """The assignment with a cell for each row; cells that a submission lacks, as the rubric has grown, are added."""
    from nbgrader.api import Comment, Grade

    book.update_or_create_assignment(lab.assignment)
    place = (NOTEBOOK, lab.assignment)
    before = {cell.name for cell in book.update_or_create_notebook(*place).grade_cells}
    for row in lab.rubric:
        book.update_or_create_grade_cell(cell_name(row.id), *place, max_score=row.points, cell_type="code")
        book.update_or_create_solution_cell(cell_name(row.id), *place)
    if before >= {cell_name(row.id) for row in lab.rubric}:
        return
    notebook = book.find_notebook(*place)
    grades, comments = {cell.id for cell in notebook.grade_cells}, {cell.id for cell in notebook.solution_cells}
    for submitted in notebook.submissions:
        for cell in grades - {grade.cell_id for grade in submitted.grades}:
            book.db.add(Grade(cell_id=cell, notebook_id=submitted.id))
        for cell in comments - {comment.cell_id for comment in submitted.comments}:
            book.db.add(Comment(cell_id=cell, notebook_id=submitted.id))
    book.db.commit()


def _write_student(book: Gradebook, student: str, result: Result, course: Course) -> None:
    """Automatic scores and comments of one student; a person is asked again where a score they changed has changed."""
    book.update_or_create_student(student, first_name="", last_name=_name(result.id))
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    submission = book.update_or_create_submission(course.lab.assignment, student, timestamp=now)
    submission.late_submission_penalty = None
    [notebook] = [each for each in submission.notebooks if each.name == NOTEBOOK]
    rows = {cell_name(row.id): row for row in result.shown}
    for grade in notebook.grades:
        _write_grade(grade, rows.get(grade.name))
    for comment in notebook.comments:
        comment.auto_comment = _comment(rows.get(comment.name))
    book.db.commit()


def _write_grade(grade: Any, row: Row | None) -> None:
    """The automatic score: none for a row that waits for a person, nor for one that was not judged this time."""
    score = None if row is None or row.verdict in PENDING else float(row.points)
    if grade.manual_score is None:
        grade.needs_manual_grade = row is not None and score is None
    elif grade.auto_score != score:
        grade.needs_manual_grade = True
    grade.auto_score = score


def _comment(row: Row | None) -> str | None:
    if row is None:
        return None
    if row.suggested is not None:
        return f"suggested: {row.suggested:g} of {row.max:g}"
    return one_line(row.diagnosis.title, 200).translate(NO_MARKUP) if row.diagnosis else None


def _name(name: str) -> str:
    """The id as a last name, which formgrader puts into its pages without escaping it."""
    return "".join(letter if letter.isalnum() or letter in " .,~_-" else "_" for letter in one_line(name, 80))


def _write_notebook(folder: Path, notebook: Any) -> None:
    import nbformat

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{NOTEBOOK}.ipynb", nbformat.writes(notebook))
    write_atomically(folder / "timestamp.txt", datetime.datetime.now(datetime.UTC).isoformat() + "\n")


def _digest(file: Path, course: Course) -> str:
    """Of a result and of the gradebook that it goes to."""
    content = file.read_bytes() if file.is_file() else b""
    return hashlib.sha256(content + without_password(course.url).encode()).hexdigest()


def _written(course: Course) -> dict[str, str]:
    try:
        return dict(json.loads((course.root / WRITTEN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _keep(course: Course, done: dict[str, str]) -> None:
    write_atomically(course.root / WRITTEN, json.dumps(done, indent=0) + "\n")


# --- what people typed


def typed(course: Course) -> Manual:
    """Points and comments that people typed, by id and row. A score outside of 0 to the row's points is an error.

    Raises UsageError for such a score, which nbgrader's server takes from anybody who asks it to.
    """
    names = {student_id(result.id): result.id for result in graded(course.out)}
    rows = {cell_name(row.id): row for row in course.lab.rubric}
    found: Manual = {}
    wrong = []
    with opened(course) as book:
        for submission in _submissions(book, course):
            name = names.get(submission.student.id)
            for notebook in submission.notebooks if name else ():
                comments = {comment.name: comment.manual_comment or "" for comment in notebook.comments}
                for grade in notebook.grades:
                    row, score, comment = rows.get(grade.name), grade.manual_score, comments.get(grade.name, "")
                    if row is None or (score is None and not comment):
                        continue
                    if (score is not None and not 0 <= score <= row.points) or grade.extra_credit:
                        extra = f" and {grade.extra_credit:g} extra" if grade.extra_credit else ""
                        wrong.append(f"{name}, {row.id}: {score}{extra} of {row.points:g}")
                    found.setdefault(str(name), {})[row.id] = (score, comment)
    if wrong:
        raise UsageError(
            "scores in the gradebook that the rubric does not have; correct them at the desk: " + "; ".join(wrong[:5])
        )
    return found


def _submissions(book: Gradebook, course: Course) -> list[Any]:
    from nbgrader.api import MissingEntry

    with suppress(MissingEntry):
        return list(book.assignment_submissions(course.lab.assignment))
    return []
