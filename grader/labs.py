"""What a lab is to the grader: its halves, the rows of its rubric, its policy, and where their rooms are.

A lab is a package: `rubric.toml` (rows, points, titles), `policy.toml` with a `Policy` that reads it, `probes/` (files
of the sandbox that several rows share) and `rows/`, a folder for each row that a machine judges, with

    judge.py           judge(bench) -> Judgement
    probe.py           what the sandbox runs for it, the only file of the folder that is shown there
    misconceptions.py  CATALOGUE: what a wrong answer may mean
    made_up.py         MISTAKES and STYLES: submissions with the verdicts that they must get
    public.py          check(): what students may run themselves

The package's `LAB` is an instance of `Lab`, or of a class of its own where the lab has more than rows.
"""

from __future__ import annotations

import importlib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.errors import UsageError
from grader.text import near

if TYPE_CHECKING:
    import argparse

    from grader.judging.bench import Bench, Judgement
    from grader.judging.diagnosis import Misconception
    from grader.policy import Policy
    from grader.records import Row
    from grader.running.evidence import Evidence
    from grader.running.grading import Order

REPOSITORY = Path(__file__).resolve().parents[1]
COURSE = "grader.lab"  # the lab where none is named


class RowKind(StrEnum):
    """How a row is judged."""

    CODE = "code"  # by what a function computes
    RUN = "run"  # by running the submitted code as the notebook does
    PERSON = "person"  # a person decides, by the report and by what runs left behind
    COMPANION = "companion"  # an exercise for no points: judged like code


@dataclass(frozen=True)
class RubricRow:
    """One line of the rubric. `half` is the key of the half whose code it is about."""

    id: str
    points: float
    title: str
    kind: RowKind
    half: str
    trains: bool = False  # takes minutes: `--no-training` leaves it with a person
    words: str = ""  # a regular expression of what a page of the report says that is about the row
    todo: str = ""  # the row at whose TODO its code stands, where it has none of its own
    libraries: tuple[str, ...] = ()  # of those that hold answers, which its code is to use

    @property
    def is_code(self) -> bool:
        return self.kind is RowKind.CODE


@dataclass(frozen=True)
class Half:
    """A folder of the lab, and how it is recognised in a submission."""

    key: str  # the first part of its rows' ids
    folder: str
    title: str  # over its rows in a report
    todo_files: tuple[str, ...]  # in the order in which they are imported
    telling: str  # a file that only this half has

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules with TODOs."""
        return tuple(name.removesuffix(".py") for name in self.todo_files)


@dataclass(frozen=True)
class Measure:
    """A number that `Row.measured` may hold, the smaller the better: for the class page and for leaderboards.

    Beside it may stand its "interval" [low, high], and how far it can be trusted, as "trust": the class page draws
    "unverified" ones hollow.
    """

    key: str = ""  # none: the lab measures nothing of the kind
    title: str = ""
    legend: str = ""  # what filled and hollow dots are

    def of(self, row: Row) -> float | None:
        """The number of a row, None where there is none that is finite."""
        value = row.measured.get(self.key)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@dataclass(frozen=True)
class Material:
    """What of a lab goes into the sandbox: it holds no answers."""

    probes: Mapping[str, Path] = field(default_factory=dict)  # name of a module -> its file
    modules: tuple[str, ...] = ()  # a student's modules that rows ask for
    files: frozenset[str] = (
        frozenset()
    )  # modules of the lab in any edition: a placeholder would hide that one is missing
    answers: tuple[str, ...] = ()  # packages that hold answers: a row finds those alone that it names

    def with_probes(self, *files: Path) -> Material:
        """The same with more files of probes."""
        return replace(self, probes={**self.probes, **{file.stem: file for file in files}})


class Lab:
    """A lab. Pickles as the name of its package, whose `LAB` it is."""

    def __init__(
        self,
        package: str,
        halves: tuple[Half, ...],
        *,
        name: str = "lab",
        title: str = "Lab",
        suffix: str = "_lab1",
        files: frozenset[str] = frozenset(),
        captions: Mapping[str, str] | None = None,
        other_titles: Mapping[str, str] | None = None,
        measure: Measure = Measure(),
        answers: tuple[str, ...] = (),
    ) -> None:
        self.package, self.halves, self.suffix, self.files = package, halves, suffix, files
        self.name, self.title = name, title  # for programs, and over what people read
        self.measure = measure
        self.answers = answers  # packages that hold answers to its rows
        self.captions = dict(captions or {})  # of a row's figures, by the stem of the file's name
        self.titles = {half.key: half.title for half in halves} | dict(other_titles or {})  # first part of a row's id

    def __reduce__(self) -> tuple[Callable[[str], Lab], tuple[str]]:
        return named, (self.package,)

    def __repr__(self) -> str:
        return f"<the lab of {self.package}>"

    @property
    def assignment(self) -> str:
        """What the submissions' names end in, as the name of the assignment: "lab1"."""
        return self.suffix.strip("_")

    @cached_property
    def folder(self) -> Path:
        """Of the package."""
        return Path(str(importlib.import_module(self.package).__file__)).resolve().parent

    # --- rows

    @cached_property
    def rubric(self) -> tuple[RubricRow, ...]:
        """All rows, in the order of the rubric."""
        data = tomllib.loads((self.folder / "rubric.toml").read_text(encoding="utf-8"))
        return tuple(
            RubricRow(
                **{"kind": "code", "half": row["id"].split(".")[0]}
                | row
                | {"kind": RowKind(row.get("kind", "code")), "libraries": tuple(row.get("libraries", ()))}
            )
            for row in data["row"]
        )

    def row(self, row_id: str) -> RubricRow:
        """The row of an id. Raises KeyError."""
        return {row.id: row for row in self.rubric}[row_id]

    def heading(self, row_id: str) -> str:
        """A row's id and title, as the name of a test; the id alone of a row that the rubric does not have."""
        title = next((row.title for row in self.rubric if row.id == row_id), "")
        return f"{row_id}: {title}" if title else row_id

    def select(self, patterns: list[str]) -> list[RubricRow]:
        """Rows whose id starts with one of `patterns`; all rows for none. Raises UsageError with near matches."""
        ids = [row.id for row in self.rubric]
        for pattern in patterns:
            if not any(row_id.startswith(pattern) for row_id in ids):
                meant = near(pattern, ids)
                hint = f"did you mean {' or '.join(meant)}?" if meant else f"rows are {', '.join(ids)}"
                raise UsageError(f"no row of the rubric starts with '{pattern}': {hint}")
        return [row for row in self.rubric if not patterns or row.id.startswith(tuple(patterns))]

    def half(self, key: str) -> Half:
        """The half of a key. Raises KeyError."""
        return {half.key: half for half in self.halves}[key]

    def room(self, row_id: str, name: str) -> Any:
        """The module `name` of a row's folder, such as "judge". Raises ImportError where there is none."""
        return importlib.import_module(f"{self.package}.rows.{row_id}.{name}")

    def judge(self, row_id: str) -> Callable[[Bench], Judgement]:
        """What judges a row by a machine."""
        found: Callable[[Bench], Judgement] = self.room(row_id, "judge").judge
        return found

    def misconceptions(self, row_id: str) -> tuple[Misconception, ...]:
        """What a wrong answer to a row may mean, the likeliest first."""
        return tuple(self.room(row_id, "misconceptions").CATALOGUE)

    def judge_evidence(self, row: RubricRow, evidence: Evidence) -> Row:
        """A row of RowKind.PERSON, by the report and by what was handed in beside the code."""
        return evidence.for_a_person(row)

    # --- sandbox

    @cached_property
    def material(self) -> Material:
        """What of this lab the sandbox is shown."""
        shared = {file.stem: file for file in sorted((self.folder / "probes").glob("*.py"))}
        rows = {
            row.id.replace(".", "_"): self.folder / "rows" / row.id.replace(".", "/") / "probe.py"
            for row in self.rubric
        }
        modules = tuple(module for half in self.halves for module in half.modules)
        probes = shared | {name: file for name, file in rows.items() if file.is_file()}
        return Material(probes, modules, self.files, self.answers)

    # --- policy and command line

    def policy(self, path: Path | None = None) -> Policy:
        """The lab's policy, overridden by the TOML file at `path`. Raises UsageError."""
        from grader.policy import Policy, read_policy

        return read_policy(Policy, self.folder / "policy.toml", path)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Options of `grade` that only this lab has."""

    def requested(self, options: argparse.Namespace, policy: Any, rows: list[str]) -> tuple[Policy, Any]:
        """The policy, and what `Order.extra` is to hold, that the lab's options ask for. Raises UsageError."""
        return policy, None

    def verbs(self) -> dict[str, tuple[str, Callable[[list[str]], int]]]:
        """Verbs of the command line that only this lab has: a line about each, and what runs it."""
        return {}

    def beyond(self, order: Order) -> tuple[float, int]:
        """Wall seconds that an order may take beyond the policy's limits, and MiB that it needs if that is more."""
        return 0.0, 0

    def thresholds(self, policy: Any) -> tuple[float, ...]:
        """Values of the lab's measure at which the points change, for the class page."""
        return ()

    # --- what students were given

    @property
    def released(self) -> Path:
        """The folder with the halves as students get them: packaged, or at the top of the repository."""
        packaged = self.folder / "released"
        return packaged if packaged.is_dir() else REPOSITORY

    @property
    def solutions(self) -> Path:
        """The folder with the solved halves: the lab's own, or the repository's; an installed lab has none."""
        own = self.folder / "solutions"
        return own if own.is_dir() else REPOSITORY / "solutions"


def named(package: str) -> Lab:
    """The `LAB` of a package."""
    lab = importlib.import_module(package).LAB
    if not isinstance(lab, Lab):
        raise TypeError(f"{package}.LAB is no Lab")
    return lab
