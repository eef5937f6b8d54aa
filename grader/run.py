"""A run over a class: what is left to do, several submissions at a time, each result put in place whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from grader.intake import Unreadable, stage
from grader.pipeline import Order, file_digest, grade_submission
from grader.records import Result
from grader.report import write_report
from grader.rubric import UsageError, rubric


def finish(result: Result, folder: Path, final: Path) -> None:
    """Write result.json and report.html beside the figures in `folder`, and put it in place of `final` as a whole."""
    write_report(result, folder, {row.id: row.title for row in rubric()})
    (folder / "result.json").write_text(result.to_json(), encoding="utf-8")
    if final.exists():
        retired = final.with_name(f".{final.name}.old-{os.getpid()}")
        final.rename(retired)
        folder.rename(final)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        folder.rename(final)


def grade_into(path: Path, name: str, order: Order, out: Path) -> Result:
    """Grade one submission and leave `out/name` behind, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=f".{name[:40]}-", dir=out) as work:
        folder = Path(work) / "result"
        folder.mkdir()
        result = grade_submission(path, order, folder)
        result.id = name
        finish(result, folder, out / name)
    return result


def grade_class(paths: dict[str, Path], order: Order, out: Path, jobs: int) -> Iterator[Result]:
    """Grade submissions {id: path}, `jobs` at a time; yields each result as it is done."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(grade_into, path, name, order, out) for name, path in paths.items()]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C: what is done is kept, what has not begun is dropped
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def unfinished(paths: dict[str, Path], order: Order, out: Path, finished: dict[str, Result]) -> dict[str, Path]:
    """The submissions that have no result of the same content under the same rules; the others go to `finished`."""
    todo = {}
    for name, path in paths.items():
        result = _earlier(out / name / "result.json")
        if result and result.rules == order.rules and result.submission_sha256 == _digest(path):
            finished[name] = result
        else:
            todo[name] = path
    return todo


def _earlier(file: Path) -> Result | None:
    try:
        return Result.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _digest(path: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as scratch:
        try:
            return stage(path, Path(scratch) / "submission").sha256
        except Unreadable:
            return file_digest(path)


def graded(out: Path) -> list[Result]:
    """The results below a run's folder, in the order of their ids. Raises UsageError where there are none."""
    found = [result for file in sorted(out.glob("*/result.json")) if (result := _earlier(file))]
    if not found:
        raise UsageError(f"{out} holds no results: `ddpm-grader grade SUBMISSION... --out {out}` writes them")
    return found
