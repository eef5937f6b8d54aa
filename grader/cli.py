"""The command line: parses, calls, prints. Results on stdout, progress and warnings on stderr."""

from __future__ import annotations

import argparse
import difflib
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
from grader.records import Result, Verdict
from grader.rubric import UsageError, load_policy, select_rows

if TYPE_CHECKING:
    from grader.pipeline import Order
    from grader.run import Task

OK, UNGRADED, USAGE, FAULT = 0, 1, 2, 3
VERBS = {
    "grade": "grade submissions: ZIPs or folders",
    "release": "write the student edition",
    "check": "a student's own check of the code in this folder",
    "pack": "make and validate {ID}_lab1.zip",
    "fid": "score a folder of generated images by FID, with its interval",
    "desk": "open the TA's desk (nbgrader's formgrader) on a graded class",
    "export": "the graded class for something else: gradescope, nbgrader, csv, junit, markdown",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all well, 1 something failed or could not be graded, 2 wrong usage, 3 a fault of the grader."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args)
    except UsageError as error:
        return _say(f"error: {error}", USAGE)
    except KeyboardInterrupt:
        return _say("interrupted; what was finished is kept, and the same command goes on", 130)
    except BrokenPipeError:
        return 141
    except OSError as error:
        return _say(f"error: {error.strerror}: {error.filename or ''}".rstrip(": "), FAULT)


def _dispatch(args: list[str]) -> int:
    verb = args[0] if args else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return OK
    if verb == "--version":
        print(f"ddpm-grader {__version__}")
        return OK
    run: dict[str, Callable[[list[str]], int]] = {
        "grade": _grade,
        "release": _release,
        "check": _check,
        "pack": _pack,
        "fid": _fid,
        "desk": _desk,
        "export": _export,
    }
    if verb not in run:
        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f", did you mean '{near[0]}'?" if near else f"; verbs are {', '.join(VERBS)}"
        raise UsageError(f"no verb '{verb}'{hint}")
    return run[verb](args[1:])


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<9}{what}" for verb, what in VERBS.items())
    return (
        f"usage: ddpm-grader VERB ... (the same as python -m grader VERB ...)\n\n{verbs}\n\n"
        "'ddpm-grader VERB --help' tells more; for example:\n"
        "  ddpm-grader grade submissions/*.zip --out grades"
    )


def _say(text: str, code: int) -> int:
    print(f"ddpm-grader: {text}", file=sys.stderr)
    return code


def _parser(verb: str, **more: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"ddpm-grader {verb}",
        description=VERBS[verb],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )  # type: ignore[arg-type]


def _grade(args: list[str]) -> int:
    options = _grade_parser().parse_args(args)
    policy, rows = load_policy(options.policy), select_rows(options.only)
    from grader.artifacts.request import requested
    from grader.handed_in import tasks_of  # late: numpy and the sandbox are not needed for help
    from grader.pipeline import Order
    from grader.run import claimed
    from grader.sandbox import SandboxKind, SandboxUnavailable, resolve

    if options.gradebook:
        from grader.desk.course import gradebook_url

        gradebook_url(options.gradebook)  # what is wrong with it is said now, and not after hours
    tasks = tasks_of(options.submissions)
    for task in tasks:
        for remark in task.remarks:
            _say(f"{task.id}: {remark}", OK)
    try:
        sandbox = resolve(SandboxKind(options.sandbox), options.gpu, [options.out, *options.submissions])
    except SandboxUnavailable as error:
        raise UsageError(str(error)) from error
    if sandbox is SandboxKind.USER:
        os.umask(0o077)  # results and whatever else is written from here on is closed to the submissions' users
    policy, artifacts = requested(options, policy, [row.id for row in rows])
    with claimed(options.out) as out, _terminated():
        order = Order(
            _seed(options, out), policy, tuple(rows), sandbox, options.gpu, not options.no_training, **artifacts
        )
        return _grade_tasks(tasks, order, out, options)


def _grade_tasks(tasks: list[Task], order: Order, out: Path, options: argparse.Namespace) -> int:
    from grader.live import Progress, who_needs_a_person
    from grader.run import results_in, unfinished
    from grader.summary import table, write_summary

    todo, kept = (tasks, []) if options.force else unfinished(tasks, order, out)
    done = len(kept)
    try:
        with Progress(len(todo), len(kept)) as progress, _graders(todo, order, out, options, progress.begun) as graded:
            for result in graded:
                progress.finished(result)
                done += 1
    except OSError as error:
        return _say(
            f"error: {error.strerror}: {error.filename or out}. {done} of {len(tasks)} results are in "
            "place; free space or bring the drive back, and the same command goes on",
            FAULT,
        )
    finally:
        with suppress(OSError):
            write_summary(results_in(out), out / "summary.csv")
    results = {result.id: result for result in results_in(out)}
    ordered = [results[task.id] for task in tasks]
    print(table(ordered, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    print(who_needs_a_person(ordered), file=sys.stderr)
    _write_class_page(list(results.values()), out, tasks)
    if options.gradebook is not None:
        from grader.desk.gradebook import write_class

        written = write_class(out, options.gradebook or None, list(results.values()))
        _say(f"{written} results written into the gradebook; `ddpm-grader desk {out}` opens the TA's desk", OK)
    print(
        f"\nreports: {out}{os.sep}<id>{os.sep}report.html   summary: {out / 'summary.csv'}   "
        f"class: {out / 'class.html'}"
    )
    return _exit_code(ordered)


def _write_class_page(results: list[Result], out: Path, tasks: list[Task]) -> None:
    """OUT/class.html; whatever is wrong with it, the grades are there and are not to be lost for a page."""
    from grader.classpage import write_class_page

    try:
        write_class_page(results, out, {task.id: task.path for task in tasks})
    except Exception as error:
        _say(f"warning: {out / 'class.html'} was not written: {error!r}", OK)


@contextmanager
def _graders(
    todo: list[Task], order: Order, out: Path, options: argparse.Namespace, begun: Callable[[str], None]
) -> Iterator[Iterator[Result]]:
    """Results as they come, from threads of this process or from a cluster."""
    if options.scheduler is None or not todo:
        from grader.run import grade_class

        yield grade_class(todo, order, out, max(1, options.jobs), begun)
        return
    from grader.cluster import check_workers, connected, grade_on_cluster

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


def _grade_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "grade",
        epilog="Exit codes: 0 everything graded (whatever the marks), 1 some submission could\n"
        "not be graded, 2 wrong usage, 3 a fault of the grader.",
    )
    from grader.artifacts.request import add_options

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
    add("--policy", type=Path, metavar="FILE", help="a TOML file that overrides parts of grader/policy.toml")
    add_options(parser)
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
        seed = secrets.randbits(31)
    from grader.summary import write_atomically

    write_atomically(kept, json.dumps({"seed": seed, "grader_version": __version__}) + "\n")
    return seed


def _release(args: list[str]) -> int:
    parser = _parser("release")
    parser.add_argument("destination", type=Path, metavar="DIR", help="folder of the student edition")
    parser.add_argument("--halves", action="store_true", help="write only the two halves of the lab into DIR")
    parser.add_argument("--force", action="store_true", help="replace a folder that holds something else")
    options = parser.parse_args(args)
    from grader.release import release, release_halves

    if options.halves:
        release_halves(options.destination)
        print(f"wrote the two halves of the lab to {options.destination}")
    else:
        release(options.destination, options.force)
        print(f"wrote the student edition to {options.destination}")
    return OK


def _check(args: list[str]) -> int:
    from grader.student_edition import check

    return check.main(args)


def _pack(args: list[str]) -> int:
    from grader.student_edition import pack

    return pack.main(args)


def _desk(args: list[str]) -> int:
    from grader.desk import main as desk

    return desk(args)


def _export(args: list[str]) -> int:
    from grader.export import main as export

    return export(args)


def _fid(args: list[str]) -> int:
    options = _fid_parser().parse_args(args)
    if options.batch_size < 1:
        raise UsageError("--batch-size takes a whole number from 1 on")
    policy = load_policy(options.policy)
    from grader.fid.images import NotMeasurable  # late: help needs neither numpy nor torch
    from grader.fid.measure import measure

    try:
        report = measure(
            options.generated,
            options.reference,
            options.weights,
            policy,
            training=options.training,
            cache=options.cache,
            batch_size=options.batch_size,
            device=options.device,
        )
    except NotMeasurable as error:
        return _say(f"error: {error}", UNGRADED)
    print(json.dumps(report.to_dict(), indent=1) if options.json else report.to_text())
    return OK


def _fid_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "fid",
        epilog="Exit codes: 0 measured (whatever the points), 1 the images cannot be measured, "
        "2 wrong usage,\n3 a fault of the grader. For example:\n"
        "  ddpm-grader fid results/samples data/afhq/eval --json",
    )
    add = parser.add_argument
    add("generated", type=Path, metavar="GENERATED", help="folder of generated images")
    add(
        "reference",
        type=Path,
        metavar="REFERENCE",
        nargs="?",
        default=Path("data/afhq/eval"),
        help="folder of real images, or an .npz of pytorch_fid --save-stats (default: %(default)s)",
    )
    add("--weights", type=Path, metavar="PATH", help="state dict of another Inception (default: pytorch-fid's)")
    add("--training", type=Path, metavar="DIR", help="images that the model was trained on, to look for copies of them")
    add("--json", action="store_true", help="print one JSON object")
    add("--cache", type=Path, metavar="DIR", help="where measured folders are kept (default: ~/.cache/ddpm-grader/fid)")
    add("--batch-size", type=int, default=32, metavar="N", help="images at a time (default: %(default)s)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where features are computed (default: %(default)s)")
    add("--policy", type=Path, metavar="FILE", help="a TOML file that overrides parts of grader/policy.toml")
    return parser
