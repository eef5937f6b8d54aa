"""A run over a class in a folder OUT: what is left to do, each result put in place whole, and nothing lost.

OUT/<id>/ is the result that counts. One that it replaces goes to OUT/earlier/<id>/, so that an earlier submission, or
a judgement under other rules, can still be read. Work goes on in OUT/.work and in a folder of the run below the
system's temporary one; what a killed run left in either is removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

from grader.errors import UsageError
from grader.records import Result, Verdict
from grader.results import read_result
from grader.running.apart import began as _began
from grader.running.apart import grade_apart
from grader.running.grading import Order
from grader.submission.kept import as_handed_in, content, read_kept
from grader.submission.resubmissions import Task, undecided

EARLIER, WORK, LOCK = "earlier", ".work", ".lock"
OURS = frozenset({"summary.csv", "run.json", "class.html", "desk", EARLIER})  # in OUT, beside folders of results
SCRATCH = "ddpm-grader-run-"  # of one run: followed by its process and when that began


# --- the folder


@contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """OUT for one run alone. Raises UsageError while another one works there."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise UsageError(
                f"another run (process {lock.read().strip() or 'unknown'}) grades into {out}: wait for "
                "it, stop it, or give another --out"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise  # some network drives know no locks; then whoever starts two runs has to take care
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        shutil.rmtree(out / WORK, ignore_errors=True)
        try:
            with scratch():
                yield out
        finally:
            shutil.rmtree(out / WORK, ignore_errors=True)
            with suppress(OSError):
                (out / LOCK).unlink()


@contextmanager
def scratch() -> Iterator[None]:
    """A folder of this process for all its temporary files; those of processes that were killed are removed."""
    usual = tempfile.tempdir
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{SCRATCH}*"):
        if left.stat().st_uid == os.geteuid() and not _alive(left.name.removeprefix(SCRATCH)):
            shutil.rmtree(left, ignore_errors=True)
    folder = place / f"{SCRATCH}{os.getpid()}-{_began(os.getpid())}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)  # a worker that is another user has to reach what is staged in it
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = usual
        shutil.rmtree(folder, ignore_errors=True)


def _alive(name: str) -> bool:
    """Whether the run of a scratch folder goes on: its process is there, and not another by the same number."""
    number, _, began = name.partition("-")
    return number.isdigit() and _began(int(number)) == began


# --- what is left to do


def unfinished(tasks: list[Task], order: Order, out: Path) -> tuple[list[Task], list[Result]]:
    """Tasks that have no result of the same content under the same rules, and the results of the others.

    A result in which the grader itself failed is not one that is kept.
    """
    todo, kept = [], []
    for task in tasks:
        result = read_result(out / task.id / "result.json")
        if result and _stands(result, task, order, out / task.id):
            kept.append(result)
        else:
            todo.append(task)
    return todo, kept


def _stands(result: Result, task: Task, order: Order, folder: Path) -> bool:
    if result.rules != order.rules_for(task.id) or any(row.verdict is Verdict.GRADER_ERROR for row in result.rows):
        return False
    if undecided(result.remarks) != undecided(task.remarks):
        return False
    kept = read_kept(folder)
    if kept is not None and kept.handed_in == as_handed_in(task.path) != "":
        return True
    return result.submission_sha256 == content(task.path, order.lab)  # packed anew, with the same files in it


# --- grading


def grade_into(task: Task, order: Order, folder: Path, stopped: Callable[[], bool] = lambda: False) -> Result:
    """Grade one submission, in a process of its own, and write everything about it to `folder`.

    Raises Stopped soon after `stopped` says so, and OSError for a fault of the machine.
    """
    return grade_apart(task, order, folder, stopped)


def put_in_place(folder: Path, out: Path, name: str) -> None:
    """Make `folder` the result of `name`; the one before goes to OUT/earlier. A kill in between loses neither."""
    for file in folder.iterdir():
        _settle(file)
    final = out / name
    if final.exists():
        before = read_result(final / "result.json")
        _retire(final, out, name, before.submission_sha256[:8] if before else "unreadable")
    folder.rename(final)


def _settle(file: Path) -> None:
    """Have a file on the disk before its folder gets its name: a power cut must not leave an empty result."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _retire(final: Path, out: Path, name: str, digest: str) -> None:
    place = out / EARLIER / name
    place.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:3]) for path in place.iterdir() if path.name[:3].isdigit()]
    final.rename(place / f"{max(numbers, default=0) + 1:03d}-{digest}")


def retire_rivals(tasks: list[Task], out: Path) -> None:
    """Once somebody has said which of an id's submissions counts, the result of another is no result of the class."""
    named = {task.id for task in tasks}
    for task in tasks:
        for rival in sorted(out.glob(f"{glob.escape(task.id)}~*")):
            result = read_result(rival / "result.json") if rival.name not in named else None
            if result and undecided(result.remarks) and not undecided(task.remarks):
                _retire(rival, out, rival.name, result.submission_sha256[:8])


def work_folder(out: Path) -> Path:
    """A new folder on the same disk as OUT, which the next run removes if this one does not come to it."""
    (out / WORK).mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(dir=out / WORK, prefix="result-"))


def grade_class(
    tasks: list[Task], order: Order, out: Path, jobs: int, begun: Callable[[str], None] = lambda _: None
) -> Iterator[Result]:
    """Grade tasks, `jobs` at a time; yields each result when it is in place. `begun` is told of each start.

    Whatever ends the run, also Ctrl-C, ends what is being graded with it.
    """
    stop = threading.Event()

    def work(task: Task) -> Result:
        begun(task.id)
        folder = work_folder(out)
        try:
            result = grade_into(task, order, folder, stop.is_set)
            folder.chmod(0o755)
            put_in_place(folder, out, task.id)
            return result
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    waiting, running = iter(tasks), set[Future[Result]]()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                # Only as many as work: a class of any size takes the same memory, and a stop has little to wait for.
                while len(running) < jobs and (task := next(waiting, None)):
                    running.add(pool.submit(work, task))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
