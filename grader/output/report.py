"""`report.html`: one self-contained page per submission, for the student who reads it and the TA who uses it.

Everything that came from the student is hostile. Each value passes through `visible` on its way into the
page, then through Jinja2's escaping; the page's own policy forbids scripts, remote loads and foreign styles.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.files import write_atomically
from grader.labs import Lab
from grader.records import PENDING, Check, Result, Row, Verdict
from grader.text import number, visible, word

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = {"name": 160, "remark": 600, "message": 4000}  # characters shown
MOST = 60  # remarks shown
PAGES = "report-"  # pages of the student's own report, which are for the person who grades them
FIGURE_BYTES = 2_000_000
FIGURE_PIXELS = 6000  # a side

# Sign and meaning: the sign tells verdicts apart without colour, the meaning stands in the page's legend.
VERDICTS = {
    Verdict.GRADER_ERROR: ("!", "The grader itself failed. It costs no marks: the points are pending."),
    Verdict.NEEDS_REVIEW: ("?", "A person decides. The points are pending until then."),
    Verdict.MISSING: ("✗", "The file, class or function was not found in the submission."),
    Verdict.NOT_IMPLEMENTED: ("✗", "Still the placeholder, or it returns nothing."),
    Verdict.CRASHED: ("✗", "The code raised an error, or ended its process."),
    Verdict.TIMEOUT: ("✗", "The code did not answer in time."),
    Verdict.OUT_OF_MEMORY: ("✗", "The code went over the memory limit."),
    Verdict.FAILED: ("✗", "The code ran and computed something else than it should."),
    Verdict.PARTIAL: ("◐", "Right in parts."),
    Verdict.PASSED: ("✓", "Everything right."),
    Verdict.SKIPPED: ("–", "Not judged. The message names what it waited for."),
}

_LABEL = re.compile(r"(checked|expected|got|where|hint|equation)(?::|\s{2,}|$)\s*", re.IGNORECASE)
# x_t, ᾱ_{t−1}, σ^2: one letter with its accents, then an index in braces or of one character. Names such as
# p_sample are no such thing.
_INDEX = re.compile(
    r"(?:(?<![^\W\d])(?P<base>[^\W\d_][\u0300-\u036f]*)_|(?P<up>\^))"
    r"(?:\{(?P<group>[^{}\n]{1,30})\}|(?P<one>[^\W_])(?![^\W_²³]))"
)
_CODE = ("expected", "got", "where")


@dataclass(frozen=True)
class Part:
    """A labelled piece of a message; `label` is empty for text before any label."""

    label: str
    text: str

    @property
    def code(self) -> bool:
        """Whether its columns are meant to line up."""
        return self.label in _CODE


@dataclass(frozen=True)
class Figure:
    """An evidence figure: a data: URL, or the reason why there is none."""

    name: str
    caption: str
    url: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Group:
    """The rows of one half of the lab, with their sums."""

    title: str
    rows: list[Row]

    @property
    def points(self) -> float:
        return sum(row.points for row in self.rows)

    @property
    def pending(self) -> float:
        return sum(row.pending for row in self.rows)

    @property
    def max(self) -> float:
        return sum(row.max for row in self.rows)


def write_report(result: Result, folder: Path, lab: Lab) -> Path:
    """Write `folder`/report.html and return its path. Raises OSError."""
    path = folder / "report.html"
    write_atomically(path, render(result, folder, lab))
    return path


def render(result: Result, folder: Path, lab: Lab) -> str:
    """The page of `result` as HTML: titles and captions are the lab's; figures are read from `folder`."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            result=result,
            titles={row.id: row.title for row in lab.rubric},
            groups=list(_groups(result.told, lab)),
            people=_people(result.rows),
            counts=_counts(result.told),
            told={row.id for row in result.told if _has_more(row, result)},
            left_alone=[row for row in result.rows if row.left_alone],
            figures=lambda row: [
                figure(folder, name, lab.captions) for name in row.evidence[:MOST] if not name.startswith(PAGES)
            ],
        )
    )


@cache
def _environment() -> Environment:
    """Jinja2 that escapes every value after making it `visible`. Imported late: start-up does without it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        ours = not isinstance(value, str) or isinstance(value, Markup)
        return value if ours else visible(value)

    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals |= {"style": Markup(style), "style_hash": digest, "VERDICTS": VERDICTS, "MOST": MOST}
    environment.filters |= {
        "number": number,
        "word": word,
        "anchor": _anchor,
        "parts": parts,
        "maths": maths,
        "messages": _messages,
        "cut": lambda text, kind: visible(text, LONGEST[kind]),
    }
    return environment


# --- what the page says


def parts(message: str) -> list[Part]:
    """A message in its labelled pieces (checked, expected, got, where, hint, equation); lines are kept."""
    found: list[tuple[str, list[str]]] = []
    for line in visible(message, LONGEST["message"]).split("\n"):
        label = _LABEL.match(line)
        if label:
            found.append((label[1].lower(), [line[label.end() :]]))
        elif found:
            found[-1][1].append(line)
        else:
            found.append(("", [line]))
    texts = [(label, "\n".join(lines).strip("\n")) for label, lines in found]
    return [Part(label, text) for label, text in texts if text.strip()]


def maths(equation: str) -> Markup:
    """A plain Unicode equation as HTML, with its indices and exponents set as such."""
    from markupsafe import Markup, escape

    def index(found: re.Match[str]) -> str:
        tag = "sup" if found["up"] else "sub"
        return f"{found['base'] or ''}<{tag}>{found['group'] or found['one']}</{tag}>"

    # Escaped first: what is matched then holds no markup, and no index takes a character reference apart.
    return Markup(_INDEX.sub(index, str(escape(visible(equation, LONGEST["message"])))))


def _messages(row: Row) -> list[tuple[list[Check], list[Part]]]:
    """What is to be read about a row: its own message unless a check says the same, then that of each check.

    Neighbours with one message, such as all checks of a function that crashed, are told together.
    """
    said = {check.message for check in row.checks}
    own: list[tuple[list[Check], list[Part]]] = [([], parts(row.message))] if row.message not in said else []
    together = [list(checks) for _, checks in groupby(row.checks, key=lambda check: check.message)]
    return own + [
        (checks, [part for part in parts(checks[0].message) if not _repeats(part, row)]) for checks in together
    ]


def _repeats(part: Part, row: Row) -> bool:
    """Whether the diagnosis above already says this."""
    return row.diagnosis is not None and part.text.strip() in (row.diagnosis.hint, row.diagnosis.equation)


def _has_more(row: Row, result: Result) -> bool:
    """Whether a row needs a section of its own, beside its line in the table and the problem at the top."""
    said = ("", result.problem, row.message if row.verdict in PENDING else "")
    figures = [name for name in row.evidence if not name.startswith(PAGES)]
    return bool(row.checks or row.diagnosis or figures or row.remarks or row.message not in said)


def _groups(rows: Iterable[Row], lab: Lab) -> Iterable[Group]:
    halves: dict[str, list[Row]] = {}
    for row in rows:
        halves.setdefault(row.id.split(".")[0], []).append(row)
    return (Group(lab.titles.get(half, half), members) for half, members in halves.items())


def _people(rows: Iterable[Row]) -> list[tuple[Verdict, str, list[Row]]]:
    """Rows that wait for a person, those with the same reason together, faults of the grader first."""
    waiting: dict[tuple[Verdict, str], list[Row]] = {}
    for row in sorted((row for row in rows if row.verdict in PENDING), key=lambda row: row.verdict.rank):
        waiting.setdefault((row.verdict, row.message), []).append(row)
    return [(verdict, message, members) for (verdict, message), members in waiting.items()]


def _counts(rows: list[Row]) -> list[tuple[Verdict, int]]:
    """How many rows have each verdict that occurs: the best first, what was not judged last."""
    order = sorted(Verdict, key=lambda verdict: (verdict is Verdict.SKIPPED, -verdict.rank))
    counts = [(verdict, sum(row.verdict is verdict for row in rows)) for verdict in order]
    return [(verdict, count) for verdict, count in counts if count]


def _anchor(row_id: str) -> str:
    """`row_id` as a fragment of a URL and an id in the page."""
    return "row-" + re.sub(r"[^A-Za-z0-9_.-]", "-", row_id)[:80]


# --- figures


def figure(folder: Path, name: str, captions: Mapping[str, str]) -> Figure:
    """The PNG or JPEG `name` of `folder` as a data: URL; other places, links, kinds and sizes are refused."""
    stem = Path(name).stem
    caption = captions.get(stem, stem)
    path = folder / name
    try:
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            raise ValueError("the file is not beside this report")
        if path.stat().st_size > FIGURE_BYTES:
            raise ValueError(f"the file is larger than {FIGURE_BYTES // 10**6} MB")
        data = path.read_bytes()
        kind = _kind(data)
    except (OSError, ValueError) as error:
        reason = str(error) if not isinstance(error, OSError) else "the file cannot be read"
        return Figure(name, caption, problem=reason)
    return Figure(name, caption, f"data:image/{kind};base64,{base64.b64encode(data).decode()}")


def _kind(data: bytes) -> str:
    """ "png" or "jpeg", by content. Raises ValueError for anything else and for a PNG of absurd size."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("the file is neither a PNG nor a JPEG")
    if max(int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) > FIGURE_PIXELS:
        raise ValueError(f"the picture is larger than {FIGURE_PIXELS} pixels a side")
    return "png"
