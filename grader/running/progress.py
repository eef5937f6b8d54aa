"""What a person sees on stderr while a class is graded: a live table on a terminal, a line a submission elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from grader.records import PENDING, Result
from grader.submission.resubmissions import undecided
from grader.text import number, one_line, word

if TYPE_CHECKING:
    from rich.table import Table

LAST = 8  # finished submissions shown
REASONS = 6  # told at the end
RIVALS = "different submissions of one id: name the one that counts alone, or give --take-latest"


class Progress(AbstractContextManager["Progress"]):
    """Told of each start and each result of a run over `total` submissions, `kept` of which were graded before."""

    def __init__(self, total: int, kept: int) -> None:
        self.total, self.kept, self.done = total, kept, 0
        self._began = time.monotonic()
        self._running: dict[str, float] = {}
        self._last: list[str] = []
        self._verdicts: Counter[str] = Counter()
        self._live: Any = None
        if sys.stderr.isatty() and total:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self.kept:
            print(f"{self.kept} graded before and unchanged, {self.total} to do (--force grades all)", file=sys.stderr)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def begun(self, name: str) -> None:
        self._running[name] = time.monotonic()

    def finished(self, result: Result) -> None:
        """Count a result, and say it."""
        self.done += 1
        self._running.pop(result.id, None)
        self._verdicts.update(word(row.verdict) for row in result.shown)
        state = "could not be graded" if result.problem else f"{number(result.points)} of {number(result.max)}"
        pending = f", {number(result.pending)} pending" if result.pending else ""
        line = f"[{self.done}/{self.total}] {one_line(result.id, 60)}: {state}{pending} ({result.duration_s:.1f} s"
        self._last = [*self._last[-LAST + 1 :], f"{line})"]
        if not self._live:
            print(f"{line}{self._ahead()})", file=sys.stderr, flush=True)

    def _ahead(self) -> str:
        if self.done in (0, self.total):
            return ""
        left = (time.monotonic() - self._began) / self.done * (self.total - self.done)
        return f", about {left:.0f} s left" if left < 120 else f", about {left / 60:.0f} min left"

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for line in self._last:
            table.add_row(Text(line, style="dim"))
        now = time.monotonic()
        for name, since in list(self._running.items()):
            table.add_row(Text(f"  … {one_line(name, 60)} ({now - since:.0f} s)"))
        counts = ", ".join(f"{count} {name}" for name, count in self._verdicts.most_common())
        table.add_row(Text(f"{self.done} of {self.total} graded{self._ahead()}", style="bold"))
        if counts:
            table.add_row(Text(f"rows: {counts}"))
        return table


def who_needs_a_person(results: Iterable[Result]) -> str:
    """At the end of a run: how many submissions wait for a person, and why, the commonest reasons first."""
    results = list(results)
    reasons: Counter[str] = Counter()
    people: dict[str, list[str]] = {}
    for result in results:
        why = {_reason(row.id, row.verdict.value) for row in result.rows if row.verdict in PENDING}
        why |= {f"could not be graded: {one_line(result.problem, 80)}"} if result.problem else set()
        why |= {RIVALS} if undecided(result.remarks) else set()
        for reason in why:
            reasons[reason] += 1
            people.setdefault(reason, []).append(one_line(result.id, 40))
    if not reasons:
        return ""
    lines = ["", "a person is needed for:"]
    for reason, count in reasons.most_common(REASONS):
        names = "" if count == len(results) > 3 else f" ({', '.join(people[reason][:3])}{', ...' if count > 3 else ''})"
        lines.append(f"  {count} of {len(results)}: {reason}{names}")
    if len(reasons) > REASONS:
        lines.append(f"  and {len(reasons) - REASONS} more reasons: see summary.csv")
    return "\n".join(lines)


def _reason(row_id: str, verdict: str) -> str:
    return f"{row_id}, " + (
        "a fault of the grader: see grader_error.log" if verdict == "grader_error" else "which a person judges"
    )
