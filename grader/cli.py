"""The command line: parses, calls, prints. Results on stdout, progress and warnings on stderr."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from grader import __version__
from grader.commands import command_parser, say
from grader.errors import FAULT, OK, UNGRADED, USAGE, UsageError
from grader.labs import COURSE, Lab, named
from grader.records import Result, Verdict
from grader.text import unknown

if TYPE_CHECKING:
    from grader.running.class_run import Task
    from grader.running.grading import Order

VERBS = {
    "grade": "grade submissions: ZIPs or folders",
    "desk": "open the TA's desk (nbgrader's formgrader) on a graded class",
    "export": "the graded class for something else",
}


def main(argv: Sequence[str] | None = None, lab: Lab | None = None) -> int:
    """Run a verb for a lab; without one, for the course's.

    Exit codes: 0 all well, 1 something failed or could not be graded, 2 wrong usage, 3 a fault of the grader.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args, lab or named(COURSE))
    except UsageError as error:
        return say(f"error: {error}", USAGE)
    except KeyboardInterrupt:
        return say("interrupted; what was finished is kept, and the same command goes on", 130)
    except BrokenPipeError:
        return 141
    except OSError as error:
        return say(f"error: {error.strerror}: {error.filename or ''}".rstrip(": "), FAULT)


def _dispatch(args: list[str], lab: Lab) -> int:
    verb, own = args[0] if args else "--help", lab.verbs()
    if verb in ("-h", "--help"):
        from grader.output.formats import FORMATS

        exports = {"export": f"{VERBS['export']}: {', '.join(FORMATS)}"}
        print(_overview(VERBS | exports | {name: about for name, (about, _) in own.items()}))
        return OK
    if verb == "--version":
        print(f"ddpm-grader {__version__}")
        return OK
    run: dict[str, Callable[[list[str]], int]] = {
        "grade": lambda rest: _grade(rest, lab),
        "desk": lambda rest: _desk(rest, lab),
        "export": lambda rest: _export(rest, lab),
        **{name: call for name, (_, call) in own.items()},
    }
    if verb not in run:
        raise UsageError(unknown("verb", verb, run))
    return run[verb](args[1:])


def _overview(verbs: dict[str, str]) -> str:
    lines = "\n".join(f"  {verb:<9}{what}" for verb, what in verbs.items())
    return (
        f"usage: ddpm-grader VERB ... (the same as python -m grader VERB ...)\n\n{lines}\n\n"
        "'ddpm-grader VERB --help' tells more; for example:\n"
        "  ddpm-grader grade submissions/*.zip --out grades"
    )


def _desk(args: list[str], lab: Lab) -> int:
    from grader.desk import main as desk

    return desk(args, lab)


def _export(args: list[str], lab: Lab) -> int:
    from grader.output.formats import main as export

    return export(args, lab)


def _grade(args: list[str], lab: Lab) -> int:
    options = _grade_parser(lab).parse_args(args)
    policy, rows = lab.policy(options.policy), lab.select(options.only)
    from grader.running.class_run import OURS, claimed
    from grader.running.grading import Order
    from grader.sandbox import SandboxKind, SandboxUnavailable, resolve
    from grader.submission.resubmissions import tasks_of  # late: numpy and the sandbox are not needed for help

    if options.gradebook:
        from grader.desk.course import gradebook_url

        gradebook_url(options.gradebook)  # what is wrong with it is said now, and not after hours
    tasks = tasks_of(options.submissions, lab, OURS, options.take_latest)
    for task in tasks:
        for remark in task.remarks:
            say(f"{task.id}: {remark}")
    try:
        sandbox = resolve(SandboxKind(options.sandbox), options.gpu, [options.out, *options.submissions])
    except SandboxUnavailable as error:
        raise UsageError(str(error)) from error
    if sandbox is SandboxKind.USER:
        os.umask(0o077)  # results and whatever else is written from here on is closed to the submissions' users
    if options.artifacts is not None and not options.artifacts.is_dir():
        raise UsageError(
            f"no such folder of artifacts: {options.artifacts}; it holds a folder for each id, with what "
            "runs left behind"
        )
    policy, extra = lab.requested(options, policy, [row.id for row in rows])
    with claimed(options.out) as out, _terminated():
        order = Order(
            lab,
            _seed(options, out),
            policy,
            tuple(rows),
            sandbox,
            options.gpu,
            not options.no_training,
            options.artifacts,
            extra,
        )
        return _grade_tasks(tasks, order, out, options)


def _grade_tasks(tasks: list[Task], order: Order, out: Path, options: argparse.Namespace) -> int:
    from grader.output.summary import table, write_summary
    from grader.results import results_in
    from grader.running.class_run import retire_rivals, unfinished
    from grader.running.progress import Progress, who_needs_a_person

    todo, kept = (tasks, []) if options.force else unfinished(tasks, order, out)
    done = len(kept)
    try:
        with Progress(len(todo), len(kept)) as progress, _graders(todo, order, out, options, progress.begun) as graded:
            for result in graded:
                progress.finished(result)
                done += 1
    except OSError as error:
        return say(
            f"error: {error.strerror}: {error.filename or out}. {done} of {len(tasks)} results are in "
            "place; free space or bring the drive back, and the same command goes on",
            FAULT,
        )
    else:
        retire_rivals(tasks, out)
    finally:
        with suppress(OSError):
            write_summary(results_in(out), out / "summary.csv", order.lab)
    results = {result.id: result for result in results_in(out)}
    ordered = [results[task.id] for task in tasks]
    print(table(ordered, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    print(who_needs_a_person(ordered), file=sys.stderr)
    _write_class_page(list(results.values()), out, order)
    if options.gradebook is not None:
        from grader.desk.course import Course
        from grader.desk.gradebook import write_class

        written = write_class(Course.of(out, options.gradebook or None, order.lab), list(results.values()))
        say(f"{written} results written into the gradebook; `ddpm-grader desk {out}` opens the TA's desk")
    print(
        f"\nreports: {out}{os.sep}<id>{os.sep}report.html   summary: {out / 'summary.csv'}   "
        f"class: {out / 'class.html'}"
    )
    return _exit_code(ordered)


def _write_class_page(results: list[Result], out: Path, order: Order) -> None:
    """OUT/class.html; whatever is wrong with it, the grades are there and are not to be lost for a page."""
    from grader.output.class_page import write_class_page

    try:
        write_class_page(results, out, order.lab, order.policy)
    except Exception as error:
        say(f"warning: {out / 'class.html'} was not written: {error!r}")


@contextmanager
def _graders(
    todo: list[Task], order: Order, out: Path, options: argparse.Namespace, begun: Callable[[str], None]
) -> Iterator[Iterator[Result]]:
    """Results as they come, from threads of this process or from a cluster."""
    if options.scheduler is None or not todo:
        from grader.running.class_run import grade_class

        yield grade_class(todo, order, out, max(1, options.jobs), begun)
        return
    from grader.running.cluster import check_workers, connected, grade_on_cluster

    with connected(options.scheduler) as client:
        check_workers(client, order)
        yield grade_on_cluster(client, todo, order, out, begun)


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM, by which a cluster's queue stops a job, ends a run as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(results: list[Result]) -> int:
    if any(row.verdict is Verdict.GRADER_ERROR for result in results for row in result.rows):
        return FAULT
    return UNGRADED if any(result.problem for result in results) else OK


def _grade_parser(lab: Lab) -> argparse.ArgumentParser:
    parser = command_parser(
        "grade",
        VERBS["grade"],
        epilog="Exit codes: 0 everything graded (whatever the marks), 1 some submission could\n"
        "not be graded, 2 wrong usage, 3 a fault of the grader.",
    )
    add = parser.add_argument
    add("submissions", nargs="+", type=Path, metavar="SUBMISSION", help="a ZIP or a folder")
    add("--out", type=Path, required=True, metavar="DIR", help="where results and reports go")
    add("--only", action="append", default=[], metavar="ROW", help="judge these rows only; a prefix counts, repeatable")
    add("--no-training", action="store_true", help="leave out rows that train a model (they stay pending)")
    add("--seed", type=int, metavar="N", help="seed of the judge's inputs (default: drawn, and kept in DIR/run.json)")
    add(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="submissions at a time (default: one a core, here %(default)s)",
    )
    add(
        "--sandbox",
        choices=["auto", "bubblewrap", "user", "none"],
        default="auto",
        help="how student code is kept apart (default: %(default)s, which is bubblewrap or an error)",
    )
    add("--gpu", action="store_true", help="let student code use the GPU")
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="grade on Dask workers: tcp://HOST:PORT of a scheduler, or local[:N] "
        "for N workers on this machine (needs ddpm-lab[cluster])",
    )
    add(
        "--gradebook",
        nargs="?",
        const="",
        metavar="URL",
        help="write nbgrader's gradebook too: sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST/DATABASE (without a URL: SQLite in DIR/desk)",
    )
    add("--policy", type=Path, metavar="FILE", help="a TOML file that overrides parts of the lab's policy.toml")
    add("--artifacts", type=Path, metavar="DIR", help="DIR/<id>/ holds what a student's runs left behind")
    add(
        "--take-latest",
        action="store_true",
        help="of different files of one id the latest counts (default: all are graded, and a person is asked)",
    )
    lab.add_options(parser)
    add(
        "--resume",
        action="store_true",
        help="keep results of the same submission, grader, rubric and policy in DIR, which is what happens anyway",
    )
    add("--force", action="store_true", help="grade everything again; results that are replaced go to DIR/earlier")
    return parser


def _seed(options: argparse.Namespace, out: Path) -> int:
    """The run's seed: given, kept from an earlier run in the same folder, or drawn so that nobody can know it."""
    kept = out / "run.json"
    if options.seed is not None:
        seed = int(options.seed)
        if seed < 0:
            raise UsageError("--seed takes a whole number from 0 on")
    elif kept.is_file():
        try:
            seed = int(json.loads(kept.read_text(encoding="utf-8"))["seed"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{kept} is damaged; give the seed with --seed, or delete the file") from error
    else:
        seed = secrets.randbits(53)
    from grader.files import write_atomically

    write_atomically(kept, json.dumps({"seed": seed, "grader_version": __version__}) + "\n")
    return seed
