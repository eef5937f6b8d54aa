"""A class on Dask Distributed: submissions travel to workers as bytes, their results come back as bytes.

Nothing but the workers' installation of this grader is shared; artifacts and AFHQ are read by their paths, which every
worker has to see. A submission whose worker dies is tried on another; the third death gives it a verdict.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tarfile
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader import __version__
from grader.errors import UsageError
from grader.files import is_plain, of_the_machine, read_plain
from grader.output.report import write_report
from grader.records import Result, Row, Verdict
from grader.running.class_run import Task, grade_into, put_in_place, scratch, work_folder
from grader.running.grading import FAULTS, Order
from grader.submission.archive import MAX_ENTRIES, MAX_FILE
from grader.submission.kept import digest_of_file

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = "20s"  # until a scheduler has answered
DEATHS = 3  # of workers, before a submission gets a verdict of its own
AHEAD = 2  # submissions sent to each worker: one at work, one waiting
STARTED = "ddpm-grader-started"  # the scheduler's list of submissions that a worker has begun
MOST_BYTES = 3 << 30  # of a submission that is sent
GPU = "GPU"  # the resource that workers with one announce


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at `address`, or of a cluster on this machine for "local" and "local:N".

    Raises UsageError where there is none to be had.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError("--scheduler needs Dask Distributed: pip install 'ddpm-lab[cluster]'") from error
    dask.config.set({"distributed.admin.tick.limit": "1h"})  # no warnings while a submission is packed
    local = re.fullmatch(r"local(?::(\d+))?", address)
    if local:
        # One thread a worker: the kernel ends a sandbox with the thread that made it.
        workers = max(1, int(local[1])) if local[1] else None
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, and workers with "
            f"`dask worker {address} --nthreads 1`"
        ) from error
    with client:
        yield client


def check_workers(client: Client, order: Order) -> None:
    """Wait for a worker, and refuse one that would grade otherwise. Raises UsageError."""
    print("waiting for workers ...", file=sys.stderr)
    client.run_on_scheduler(_allow_deaths)
    try:
        client.wait_for_workers(1, timeout=300)
    except TimeoutError as error:
        raise UsageError(
            "no Dask worker came within 5 minutes: start some with `dask worker ADDRESS --nthreads 1`"
        ) from error
    for worker, version in client.run(_version).items():
        if version != __version__:
            raise UsageError(f"the worker {worker} has grader {version}, this is {__version__}: install one version")
    workers = client.scheduler_info(n_workers=-1)["workers"]
    wide = [worker for worker, about in workers.items() if about["nthreads"] > 1]
    if wide:
        raise UsageError(
            f"{len(wide)} workers have more than one thread, such as {wide[0]}: start them with --nthreads 1"
        )
    if order.gpu and not any(about["resources"].get(GPU) for about in workers.values()):
        raise UsageError(
            f"--gpu, and no worker announces one: start those with `dask worker ADDRESS --nthreads 1 "
            f'--resources "{GPU}=1"`'
        )


def _allow_deaths(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = DEATHS - 1


def _version() -> str:
    return __version__


def grade_on_cluster(
    client: Client, tasks: list[Task], order: Order, out: Path, begun: Callable[[str], None] = lambda _: None
) -> Iterator[Result]:
    """Grade tasks on the cluster's workers; yields each result when it is in place in OUT."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    resources = {GPU: 1} if order.gpu else None
    waiting, sent, attempts = iter(tasks), dict[str, Task](), Counter[str]()
    queue = as_completed(raise_errors=False)

    def send(task: Task) -> None:
        attempts[task.id] += 1
        try:
            packed = pack(task.path)
        except OSError as error:
            if of_the_machine(error):
                raise
            packed = b""  # what cannot be read here is told of as an empty file there
        future = client.submit(
            grade_remotely,
            replace(task, path=Path(task.path.name)),
            task.path.is_dir(),
            packed,
            order,
            resources=resources,
            pure=False,
            key=f"grade-{task.id}-{uuid.uuid4().hex}",
        )
        sent[str(future.key)] = task
        queue.add(future)

    def send_next() -> None:
        task = next(waiting, None)
        if task is not None:
            begun(task.id)
            send(task)

    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    for _ in range(AHEAD * workers):
        send_next()
    for future in queue:
        task = sent.pop(str(future.key))
        error = future.exception()
        if isinstance(error, KilledWorker) and attempts[task.id] < DEATHS and not _at_work(client, str(future.key)):
            send(task)
            continue
        folder = work_folder(out)
        try:
            if error is None:
                unpack(future.result(), folder)
                result = Result.from_json((folder / "result.json").read_text(encoding="utf-8"))
            else:
                result = _given_up(task, order, folder, error)
            folder.chmod(0o755)
            put_in_place(folder, out, task.id)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        future.release()
        yield result
        send_next()


def _at_work(client: Client, key: str) -> bool:
    """Whether a submission was itself at work at every death; Dask also counts those that only waited their turn."""
    return [started for _, started in client.get_events(STARTED) or ()].count(key) >= DEATHS


def grade_remotely(task: Task, is_folder: bool, packed: bytes, order: Order) -> bytes:
    """On a worker: unpack a submission, grade it, pack the folder of its result."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(STARTED, worker.get_current_task())
    with scratch(), tempfile.TemporaryDirectory(prefix="ddpm-grader-") as place:
        Path(place).chmod(0o711)
        path = Path(place, "in", task.path.name)
        path.parent.mkdir()
        if is_folder:
            path.mkdir()
            unpack(packed, path)
        else:
            path.write_bytes(packed)
        folder = Path(place, "out")
        folder.mkdir()
        grade_into(replace(task, path=path), order, folder)
        return pack(folder)


def pack(path: Path) -> bytes:
    """A file as it is, a folder as a tar of its plain files, as far as any of them would be graded. Raises OSError."""
    if not path.is_dir():
        return read_plain(path, MOST_BYTES, links=True)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        files = [file for file in path.rglob("*") if is_plain(file)]
        for file in sorted(files[: MAX_ENTRIES + 1]):  # one more than is read: it is then refused there
            if file.stat().st_size <= MAX_FILE and data.tell() <= MOST_BYTES:
                tar.add(file, file.relative_to(path).as_posix())
    return data.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")


def _given_up(task: Task, order: Order, folder: Path, error: Any) -> Result:
    """The result of a submission that came back from no worker: pending in every row, with what is known."""
    from distributed.scheduler import KilledWorker

    killed = isinstance(error, KilledWorker)
    why = f"it took {DEATHS} workers down with it" if killed else f"its worker failed: {type(error).__name__}"
    (folder / FAULTS).write_text(f"{task.id}: {error!r}\n", encoding="utf-8", errors="backslashreplace")
    message = f"this submission could not be graded on the cluster: {why}. A person has to look at {FAULTS}"
    rows = [Row(row.id, row.points, Verdict.GRADER_ERROR, message=message) for row in order.rows]
    digest = digest_of_file(task.path)
    result = Result(
        task.id,
        digest,
        __version__,
        order.seed,
        str(order.sandbox),
        {},
        rows,
        remarks=list(task.remarks),
        rules=order.rules_for(task.id),
    )
    write_report(result, folder, order.lab)
    (folder / "result.json").write_text(result.to_json(), encoding="utf-8")
    return result
