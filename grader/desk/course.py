"""The nbgrader course of a graded class: where it lies in OUT/desk, what its parts are called, how nbgrader is set."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from grader.errors import UsageError
from grader.files import write_atomically
from grader.labs import Lab

NOTEBOOK = "evidence"
URL_VARIABLE = "DDPM_GRADEBOOK_URL"  # the configuration on disk holds no password
SHARE = Path(__file__).parent / "share"  # templates that replace nbconvert's

CONFIG = '''"""Written by `ddpm-grader desk`; read by nbgrader."""
import os

c = get_config()
c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.course_id = {course_id!r}
own = "sqlite:///" + os.path.join(c.CourseDirectory.root, "gradebook.db")
c.CourseDirectory.db_url = os.environ.get({variable!r}, own)
c.HTMLExporter.sanitize_html = True
c.FormgradeExtension.debug = False
c.RowsExporter.lab = {package!r}
'''


@dataclass(frozen=True)
class Course:
    """The course of a lab below a run's folder OUT, and the URL of its gradebook."""

    out: Path
    url: str
    lab: Lab

    @classmethod
    def of(cls, out: Path, url: str | None, lab: Lab) -> Course:
        """The course of OUT; SQLite in its folder without `url`. Raises UsageError for a URL that is none."""
        out = out.resolve()
        return cls(out, gradebook_url(url) if url else f"sqlite:///{out / 'desk' / 'gradebook.db'}", lab)

    @property
    def root(self) -> Path:
        """The course's own folder."""
        return self.out / "desk"

    def evidence(self, student: str) -> Path:
        """The folder of a student's notebook, as nbgrader wants it."""
        return self.root / "autograded" / student / self.lab.assignment

    def prepare(self) -> None:
        """Make the folders and the configuration that nbgrader looks for."""
        for folder in ("source", "autograded", "feedback"):
            (self.root / folder / (self.lab.assignment if folder == "source" else "")).mkdir(
                parents=True, exist_ok=True
            )
        about = {"course_id": self.lab.name, "variable": URL_VARIABLE, "package": self.lab.package}
        write_atomically(self.root / "nbgrader_config.py", CONFIG.format(**about))

    def environment(self) -> dict[str, str]:
        """For processes that run nbgrader or Jupyter on the course: nothing of the user's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        ours = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        return kept | {
            URL_VARIABLE: self.url,
            "JUPYTER_PATH": str(SHARE),
            "JUPYTER_PLATFORM_DIRS": "1",
            **dict.fromkeys(ours, str(self.root / ".jupyter")),
        }


def gradebook_url(url: str) -> str:
    """A URL of SQLAlchemy, with the driver that is installed. Raises UsageError."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            "the gradebook's URL is none: write sqlite:////path/gradebook.db or "
            "postgresql://user:password@host/database"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg2"):
        raise UsageError(f"a gradebook lives in SQLite or PostgreSQL, not in {parsed.drivername}")
    return parsed.render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


def student_id(name: str) -> str:
    """The id of a submission as nbgrader's id of a student, which is a folder's name and part of URLs."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.~-]{,99}", name):  # the gradebook keeps 128 characters
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40]
    return f"{plain or 'student'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def cell_name(row_id: str) -> str:
    """The name of a row's cell: nbgrader takes no dots."""
    return row_id.replace(".", "-")
