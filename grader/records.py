"""The records that every part of the grader exchanges: verdicts, checks, rows, results (schema version 1)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from grader.finding import Finding

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """Outcome of a check or a row, in order of precedence: a row takes the first that any of its checks has."""

    GRADER_ERROR = "grader_error"  # our own fault: never costs marks, its points are pending
    NEEDS_REVIEW = "needs_review"  # a person decides, its points are pending
    MISSING = "missing"  # the file, class or function was not handed in
    NOT_IMPLEMENTED = "not_implemented"  # still the placeholder, or returns nothing
    CRASHED = "crashed"  # raised an error, or ended its process
    TIMEOUT = "timeout"  # did not answer in time
    OUT_OF_MEMORY = "out_of_memory"  # went over the memory limit
    FAILED = "failed"  # computed something wrong
    PARTIAL = "partial"  # right in parts
    PASSED = "passed"  # everything right
    SKIPPED = "skipped"  # not judged; the message names what it waited for

    @property
    def rank(self) -> int:
        """Position in the order of precedence, 0 first."""
        return list(Verdict).index(self)


PENDING = frozenset({Verdict.GRADER_ERROR, Verdict.NEEDS_REVIEW})
UNTRIED = frozenset({Verdict.MISSING, Verdict.NOT_IMPLEMENTED, Verdict.SKIPPED})


@dataclass(frozen=True)
class Check:
    """One judged property of a row; `points` of `max` were earned.

    `message` is the whole in words. Where a value is wrong, its parts are fields as well; `where` is also the place in
    the student's file at which the code raised an error.
    """

    id: str
    verdict: Verdict
    points: float
    max: float
    message: str = ""
    checked: str = ""
    expected: str = ""
    got: str = ""
    where: str = ""
    equation: str = ""

    @classmethod
    def of(cls, check_id: str, maximum: float, finding: Finding, points: float = 0.0) -> Check:
        """The check that a finding leaves behind; nothing is earned, or a part of the points."""
        verdict = Verdict.PARTIAL if points else Verdict.FAILED
        return cls(check_id, verdict, points, maximum, str(finding), **asdict(finding))

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED


@dataclass(frozen=True)
class Diagnosis:
    """A likely misconception behind a wrong row."""

    id: str
    title: str
    hint: str
    equation: str = ""


@dataclass
class Row:
    """The outcome of one line of the rubric."""

    id: str
    max: float
    verdict: Verdict
    points: float = 0.0
    message: str = ""
    diagnosis: Diagnosis | None = None
    checks: list[Check] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # about this row; they cost nothing
    suggested: float | None = None  # points that the grader would give where a person decides
    measured: dict[str, Any] = field(default_factory=dict)  # numbers for programs, such as an FID and its interval
    duration_s: float = 0.0

    @classmethod
    def from_checks(cls, row_id: str, maximum: float, checks: list[Check], **rest: Any) -> Row:
        """The row that its checks add up to: sum of points, verdict of highest precedence."""
        verdict = min((check.verdict for check in checks), key=lambda v: v.rank)
        points = round(sum(check.points for check in checks), 2)
        row = cls(row_id, maximum, verdict, points, checks=checks, **rest)
        row.message = row.worst.message if row.worst else ""
        if verdict in PENDING:
            row.points = 0.0
        return row

    @property
    def group(self) -> str:
        """The first part of the id: rows that share it stand together."""
        return self.id.partition(".")[0]

    @property
    def pending(self) -> float:
        return self.max if self.verdict in PENDING else 0.0

    @property
    def worst(self) -> Check | None:
        """The check that says most about why points were lost, None where none was."""
        lost = [check for check in self.checks if not check.passed]
        return min(lost, key=lambda check: check.verdict.rank, default=None)

    @property
    def left_alone(self) -> bool:
        """Whether it is a companion exercise, worth no points, that was not tried: nothing to tell of."""
        return self.max == 0 and self.verdict in UNTRIED


@dataclass
class Result:
    """Everything known about one graded submission."""

    id: str
    submission_sha256: str
    grader_version: str
    seed: int
    sandbox: str
    environment: dict[str, str]
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)
    problem: str | None = None  # why the submission as a whole could not be graded
    rules: str = ""  # digest of grader version, rubric and policy: a result of other rules is not taken up again
    duration_s: float = 0.0

    @property
    def points(self) -> float:
        return round(sum(row.points for row in self.rows), 2)

    @property
    def shown(self) -> list[Row]:
        """The rows that people are shown: all but companion exercises that were left alone."""
        return [row for row in self.rows if not row.left_alone]

    @property
    def pending(self) -> float:
        return sum(row.pending for row in self.rows)

    @property
    def max(self) -> float:
        return sum(row.max for row in self.rows)

    def to_json(self) -> str:
        """`result.json`, schema version 1."""
        head = {"schema": SCHEMA_VERSION, **{k: v for k, v in asdict(self).items() if k not in ("rows", "remarks")}}
        head |= {"points": self.points, "pending": self.pending, "max": self.max}
        rows = []
        for row in self.rows:
            record = asdict(row)
            for check, of in zip(record["checks"], row.checks, strict=True):
                check["passed"] = of.passed
            rows.append(record)
        # ASCII, as a student's message may hold lone surrogates, which UTF-8 cannot write.
        return json.dumps({**head, "remarks": self.remarks, "rows": rows}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read `result.json` back. Raises ValueError for another schema version or a file that is not one.

        What is computed (`points`, `passed`) is left aside; what an older version did not write has its default.
        """
        try:
            schema = json.loads(text)["schema"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a result.json of the grader: {error!r}") from error
        if schema != SCHEMA_VERSION:
            raise ValueError(f"result.json has schema {schema}, this grader reads {SCHEMA_VERSION}")
        return _reader().validate_python(json.loads(text))


@cache
def _reader() -> TypeAdapter[Result]:
    from pydantic import TypeAdapter  # late: whoever only writes results does not need it

    return TypeAdapter(Result)
