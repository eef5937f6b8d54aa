"""A graded class for the tests of the desk, made up without grading, and a PostgreSQL server of the tests' own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from grader.desk.course import NOTEBOOK, Course, cell_name, student_id
from grader.desk.gradebook import opened
from grader.lab import LAB
from grader.records import Result, Row, Verdict
from grader.tests.samples import HOSTILE, full, hostile, mixed, untouched

PAGE = "report-1.png"
HOSTILE_ID = "\"><img src=x onerror=\"document.title='PWNED'\">' 陳\u202e; rm -rf ~"
MARKUP = (
    "</script><script>document.title='PWNED'</script>",
    "[click](javascript:document.title='PWNED')",
    "$\\href{javascript:document.title='PWNED'}{x}$ \\(\\unicode{x}\\)",
    "<iframe src=https://evil.example>",
    "```\n<script>document.title='PWNED'</script>\n```",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
)


def write_result(out: Path, result: Result) -> Path:
    """Put a result in place as a run does; figures stay."""
    folder = out / result.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(result.to_json(), encoding="utf-8")
    return folder


def with_row(result: Result, row: Row) -> Result:
    return replace(result, rows=[row if each.id == row.id else each for each in result.rows])


def with_page(result: Result, out: Path) -> Result:
    """The result with a page of the report, and suggested points, at the FID's row."""
    from PIL import Image

    folder = out / result.id
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (620, 877), (250, 250, 240)).save(folder / PAGE)
    return with_row(
        result,
        Row("task2.fid", 20, Verdict.NEEDS_REVIEW, message="see page 1 of report.pdf", evidence=[PAGE], suggested=15),
    )


def made_up_class(out: Path) -> Path:
    """Three students: every verdict with a figure and a page of the report, all right, and nothing done."""
    (out / "412551014").mkdir(parents=True)
    for result in (with_page(mixed(out / "412551014"), out), full(), untouched()):
        write_result(out, result)
    return out


def hostile_result(out: Path) -> Result:
    """Hostile text wherever text can be, under an id that is hostile too."""
    (out / HOSTILE_ID).mkdir(parents=True)
    base = hostile(out / HOSTILE_ID)
    text = "\n".join([*MARKUP, *HOSTILE])
    known = [
        replace(row, message=text, remarks=[*MARKUP], diagnosis=replace(base.rows[0].diagnosis, title=one))
        for row, one in zip(full().rows, [*MARKUP, *HOSTILE] * 2, strict=False)
    ]
    return replace(base, id=HOSTILE_ID, rows=[*known, *base.rows], problem=text)


# --- gradebooks


@contextmanager
def grades_of(out: Path, url: str | None, name: str) -> Iterator[dict]:
    """The gradebook's rows of a student, by id of the row, as (grade, comment); changes are kept."""
    with opened(Course.of(out, url, LAB)) as book:
        notebook = book.find_submission_notebook(NOTEBOOK, LAB.assignment, student_id(name))
        comments = {comment.name: comment for comment in notebook.comments}
        names = {cell_name(row.id): row.id for row in LAB.rubric}
        yield {names[grade.name]: (grade, comments[grade.name]) for grade in notebook.grades if grade.name in names}
        book.db.commit()


def type_in(out: Path, url: str | None, name: str, row_id: str, score: float, comment: str = "") -> None:
    """What formgrader does when a TA types."""
    with grades_of(out, url, name) as rows:
        grade, remark = rows[row_id]
        grade.manual_score, grade.needs_manual_grade, remark.manual_comment = score, False, comment


# --- PostgreSQL


def binaries() -> Path | None:
    """The newest PostgreSQL on this machine."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    named = shutil.which("initdb")
    return max(found, key=lambda path: float(path.parent.name), default=Path(named).parent if named else None)


@contextmanager
def postgresql() -> Iterator[str]:
    """A private server on loopback, with a password; yields its URL, without a database."""
    # Not in a folder of pytest: these are root's alone, and PostgreSQL refuses to be root.
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-postgresql-") as folder:
        yield from _serving(Path(folder))


def _serving(folder: Path) -> Iterator[str]:
    place = binaries()
    assert place is not None
    password, port = secrets.token_hex(8), _free_port()
    data, secret = folder / "data", folder / "password"
    secret.write_text(password, encoding="utf-8")
    unlike_root = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    for path in (folder, secret) if unlike_root else ():
        shutil.chown(path, "nobody", "nogroup")

    def run(*command: str) -> None:
        with open(folder.with_suffix(".log"), "ab") as log:  # a pipe would stay open in the server
            subprocess.run([*unlike_root, *command], cwd=folder, check=True, stdout=log, stderr=log, timeout=60)

    run(
        str(place / "initdb"),
        "-D",
        str(data),
        "-U",
        "ta",
        "--pwfile",
        str(secret),
        "-A",
        "scram-sha-256",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale",
        "C",
    )
    control = str(place / "pg_ctl")
    run(
        control,
        "-D",
        str(data),
        "-w",
        "-l",
        str(folder / "log"),
        "-o",
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off",
        "start",
    )
    try:
        yield f"postgresql://ta:{password}@127.0.0.1:{port}"
    finally:
        run(control, "-D", str(data), "-m", "immediate", "stop")
        folder.with_suffix(".log").unlink()


def new_database(server: str) -> str:
    """The URL of a database that holds nothing yet."""
    import psycopg2

    name = f"lab_{secrets.token_hex(4)}"
    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    try:
        connection.cursor().execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()
    return f"{server}/{name}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
