"""Runs parts one after the other, each in a process of its own with a limit, and keeps what each had found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.tools.gpu import record as records
from grader.tools.gpu.closed import checkout
from grader.tools.gpu.machine import commit
from grader.tools.gpu.record import Outcome, Part
from grader.tools.gpu.scripts import end
from grader.tools.gpu.session import Settings


def run_parts(chosen: list[Part], known: list[Part], record: dict[str, Any], settings: Settings) -> bool:
    """Run the chosen parts, replacing the record's files after each; whether all were done.

    Raises KeyboardInterrupt after the part at hand was ended, with what it had noted in the record.
    """
    out = Path(settings.out)
    for number, part in enumerate(chosen, 1):
        print(f"{part.name} ({number} of {len(chosen)}): {part.about}", file=sys.stderr, flush=True)
        entry = run_part(part, settings)
        record = records.merged(record, part.name, entry)
        records.write(out, record, known)
        print(f"{part.name}: {entry['outcome']} after {entry['seconds']:.0f} s", file=sys.stderr, flush=True)
        if entry["outcome"] == Outcome.INTERRUPTED:
            raise KeyboardInterrupt
    return all(record["parts"][part.name]["outcome"] == Outcome.DONE for part in chosen)


def run_part(part: Part, settings: Settings) -> dict[str, Any]:
    """The entry of a part: how it ended, and what it noted until then."""
    began, date = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    settings = settings if part.private else replace(settings, sandbox="")
    error = ""
    with tempfile.TemporaryDirectory(prefix="ddpm-gpu-notes-") as folder:
        notes = Path(folder, "notes.json")
        try:
            outcome = _outcome(part, notes, settings)
        except KeyboardInterrupt:
            outcome = Outcome.INTERRUPTED
        except Exception as problem:  # such as a full disk under the copy of the checkout: the next part may do without
            outcome, error = Outcome.FAILED, repr(problem)
        noted: dict[str, Any] = {"values": {}, "checks": []}
        with suppress(OSError, ValueError):
            noted = json.loads(notes.read_text(encoding="utf-8"))
    error = noted["values"].pop("error", error)
    about = {"outcome": outcome, "seconds": round(time.monotonic() - began, 1), "date": date, "commit": commit()}
    return about | {"trial": settings.trial, **noted, "error": error}


def _outcome(part: Part, notes: Path, settings: Settings) -> Outcome:
    with checkout(settings.sandbox) as folder:
        command = [
            sys.executable,
            "-m",
            "grader.tools.gpu.child",
            part.module,
            str(notes),
            json.dumps(asdict(settings)),
        ]
        # A session of its own: Ctrl-C is for us, who then end it with all that it started.
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
        try:
            return Outcome.DONE if process.wait(settings.limit_s) == 0 else Outcome.FAILED
        except subprocess.TimeoutExpired:
            return Outcome.LATE
        finally:
            end(process)
            process.wait()


def go_on(chosen: list[Part], record_file: Path, since: str) -> list[str]:
    """Names of the chosen parts that have no result of this run, which began at `since`."""
    done = json.loads(record_file.read_text(encoding="utf-8"))["parts"] if record_file.exists() else {}
    return [
        part.name
        for part in chosen
        if part.name not in done or done[part.name]["outcome"] == Outcome.INTERRUPTED or done[part.name]["date"] < since
    ]
