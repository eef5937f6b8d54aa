"""The command line: `python3 -m grader.tools.gpu [PART ...]`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.errors import OK, UNGRADED, USAGE, UsageError
from grader.text import unknown
from grader.tools.gpu import machine, record
from grader.tools.gpu.bare import install_where_missing
from grader.tools.gpu.closed import kind_here
from grader.tools.gpu.parts import PARTS
from grader.tools.gpu.record import Part
from grader.tools.gpu.running import go_on, run_parts
from grader.tools.gpu.session import Settings

LONGEST = 7.0  # minutes of training


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return _run([_part(name) for name in options.parts] or list(PARTS.values()), options)
    except UsageError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {part.name:<8}{part.about}" for part in PARTS.values())
    parser = argparse.ArgumentParser(
        prog="make gpu, or python3 -m grader.tools.gpu",
        description="Runs on a card what only a card can show, and writes gpu.json and gpu.md.",
        epilog=f"parts:\n{parts}\n\nExit codes: 0 all done, 1 no card or a failed part, 2 wrong usage, 130 Ctrl-C.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="default: all")
    add("--out", type=Path, default=Path("gpu.json"), metavar="FILE", help="default: %(default)s")
    add("--data", type=Path, metavar="DIR", help="images to train on: any folder (default: data/afhq, or made-up ones)")
    add("--minutes", type=float, default=5.0, metavar="M", help="of training in the part train (default: %(default)g)")
    add("--trial", action="store_true", help=argparse.SUPPRESS)  # for tests: tiny sizes, on the CPU
    return parser


def _part(name: str) -> Part:
    if name not in PARTS:
        raise UsageError(unknown("part", name, PARTS))
    return PARTS[name]


def _run(chosen: list[Part], options: argparse.Namespace) -> int:
    if options.data is not None and not options.data.is_dir():
        raise UsageError(f"no such folder of images: {options.data}")
    if not 0 < options.minutes <= LONGEST:
        raise UsageError(f"--minutes {options.minutes:g}: up to {LONGEST:g}, as a part with all else has nine")
    about = machine.ask()
    if about["card"] is None and not options.trial:
        why = about.get("problem") or f"torch {about['torch']} sees no CUDA device"
        print(f"gpu: there is no card here ({why}); nothing was run, and nothing was written", file=sys.stderr)
        return UNGRADED
    about["card"] = about["card"] or "no card: a trial on the CPU"
    about["policy"] = "read without being checked, as pydantic is not installed" if install_where_missing() else None
    sandbox, why = kind_here() if any(part.private for part in chosen) else ("", "")
    if why:
        print(f"gpu: the sandbox is '{sandbox}': {why}", file=sys.stderr)
    data = str(options.data.resolve()) if options.data else None
    settings = Settings(str(options.out.resolve()), data, options.minutes, sandbox, options.trial)
    found = record.read(options.out, about)
    try:
        record.write(options.out, found, list(PARTS.values()))  # now, and not after the first nine minutes
    except OSError as error:
        raise UsageError(f"cannot write {options.out}: {error.strerror}") from error
    return _all_parts(chosen, found, settings)


def _all_parts(chosen: list[Part], found: dict[str, Any], settings: Settings) -> int:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = run_parts(chosen, list(PARTS.values()), found, settings)
    except KeyboardInterrupt:
        left = " ".join(go_on(chosen, Path(settings.out), since))
        print(f'gpu: stopped; {settings.out} has what is done. To go on: make gpu PARTS="{left}"', file=sys.stderr)
        return 130
    print(f"{settings.out} and its table {Path(settings.out).with_suffix('.md').name} are written: commit them")
    return OK if done else UNGRADED
