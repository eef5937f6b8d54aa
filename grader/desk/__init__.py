"""The verb `desk`: nbgrader's formgrader on a graded class, for the TA who judges what only people can judge."""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from grader.commands import command_parser
from grader.errors import UsageError
from grader.labs import Lab

if TYPE_CHECKING:
    from grader.desk.course import Course

BASE = "/desk/"  # with "/" alone, nbgrader's handlers would set a login cookie that holds for one page only
LOOK_S = 2.0  # between two looks for results that are new


def main(args: list[str], lab: Lab) -> int:
    """Run the verb with its arguments; returns the exit code."""
    options = _parser().parse_args(args)
    from grader.desk.course import Course
    from grader.desk.gradebook import write_class
    from grader.results import graded

    course = Course.of(options.out, options.gradebook, lab)
    results = graded(options.out)
    print(f"writing {len(results)} results into the gradebook ...", file=sys.stderr)
    write_class(course, results)
    if options.feedback:
        from grader.desk.feedback import write_feedback

        folder = write_feedback(course)
        print(f"feedback: {folder}")
        return 0
    return _serve(options, course)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("desk", "open the TA's desk (nbgrader's formgrader) on a graded class")
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the folder that `grade --out` wrote")
    add(
        "--gradebook",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE (default: SQLite in OUT/desk)",
    )
    add("--port", type=int, default=0, metavar="N", help="of the page, on this machine only (default: a free one)")
    add("--no-browser", action="store_true", help="only print the page's address")
    add("--feedback", action="store_true", help="write an HTML page for each student to OUT/desk/feedback, and end")
    return parser


def _serve(options: argparse.Namespace, course: Course) -> int:
    from grader.desk.course import NOTEBOOK

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive us
    port, token = _free_port(options.port), secrets.token_urlsafe(24)
    server = subprocess.Popen(
        server_command(course, port),
        cwd=course.root,
        stdin=subprocess.DEVNULL,
        env=course.environment() | {"JUPYTER_TOKEN": token},
    )
    try:
        _wait_for(server, port)
        address = f"http://127.0.0.1:{port}{BASE}formgrader/gradebook/{course.lab.assignment}/{NOTEBOOK}?token={token}"
        print(
            f"the desk is open at {address}\nresults that are graded again appear there; Ctrl-C closes it", flush=True
        )
        if not options.no_browser:
            webbrowser.open(address)
        _follow(server, course)
    except KeyboardInterrupt:
        print("the desk is closed; points and comments are in the gradebook", file=sys.stderr)
    finally:
        server.terminate()
        server.wait()
    return 0


def server_command(course: Course, port: int) -> list[str]:
    """The Jupyter server with our extension alone: on this machine only, without kernels, terminals or files."""
    settings = {
        "ip": "127.0.0.1",
        "port": port,
        "port_retries": 0,
        "base_url": BASE,
        "open_browser": False,
        "root_dir": course.root,
        "terminals_enabled": False,
        "log_level": "ERROR",
        "jpserver_extensions": "{'grader.desk.extension': True}",
        "allow_root": True,
    }
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "grader.desk.server",
        *(f"--ServerApp.{name}={value}" for name, value in settings.items()),
    ]


def _free_port(wanted: int) -> int:
    """`wanted`, or any for 0. Raises UsageError where another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {wanted} is in use or not to be had: choose another --port") from error
        return int(probe.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise UsageError(f"the server of the desk did not start on port {port}: choose another --port")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise UsageError("the server of the desk did not start within a minute")


def _follow(server: subprocess.Popen[bytes], course: Course) -> None:
    """Bring the gradebook up to date whenever results change, until the server ends."""
    from sqlalchemy.exc import SQLAlchemyError

    from grader.desk.gradebook import write_class
    from grader.results import results_in

    seen = _times(course.out)
    while server.poll() is None:
        time.sleep(LOOK_S)
        now = _times(course.out)
        if now != seen:
            try:
                changed = write_class(course, results_in(course.out))
            except (SQLAlchemyError, UsageError, OSError) as error:  # such as a database that is away for a moment
                print(
                    f"the gradebook cannot be written ({type(error).__name__}); the desk tries again",
                    file=sys.stderr,
                    flush=True,
                )
                continue
            print(f"{changed} results are new at the desk", file=sys.stderr, flush=True)
            seen = now


def _times(out: Path) -> dict[str, int]:
    found = {}
    for file in out.glob("*/result.json"):
        try:
            found[file.parent.name] = file.stat().st_mtime_ns
        except OSError:  # just being replaced
            continue
    return found
