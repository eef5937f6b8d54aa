"""The HTML of pages: self-contained, without scripts, and with whatever came from a student as text alone.

Each value passes through `visible` on its way into a page, then through Jinja2's escaping; a page's own policy forbids
scripts, remote loads and foreign styles.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.text import number, visible, word

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
FIGURE_BYTES = 2_000_000
FIGURE_PIXELS = 6000  # a side

# x_t, ᾱ_{t−1}, σ^2: one letter with its accents, then an index in braces or of one character. Names of functions
# with an underscore are no such thing.
_INDEX = re.compile(
    r"(?:(?<![^\W\d])(?P<base>[^\W\d_][\u0300-\u036f]*)_|(?P<up>\^))"
    r"(?:\{(?P<group>[^{}\n]{1,30})\}|(?P<one>[^\W_])(?![^\W_²³]))"
)


def render_page(template: str, styles: tuple[str, ...], **values: Any) -> str:
    """The page of a template, with its styles in it."""
    from markupsafe import Markup

    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in styles)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _environment().get_template(template).render(style=Markup(style), style_hash=digest, **values)


@cache
def _environment() -> Environment:
    """Jinja2 that escapes every value after making it `visible`. Imported late: start-up does without it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "word": word, "maths": maths, "cut": visible}
    return environment


def maths(equation: str, limit: int | None = None) -> Markup:
    """A plain Unicode equation as HTML, with its indices and exponents set as such."""
    from markupsafe import Markup, escape

    def index(found: re.Match[str]) -> str:
        tag = "sup" if found["up"] else "sub"
        return f"{found['base'] or ''}<{tag}>{found['group'] or found['one']}</{tag}>"

    # Escaped first: what is matched then holds no markup, and no index takes a character reference apart.
    return Markup(_INDEX.sub(index, str(escape(visible(equation, limit)))))


# --- figures


@dataclass(frozen=True)
class Figure:
    """An evidence figure: a data: URL, or the reason why there is none."""

    name: str
    caption: str
    url: str = ""
    problem: str = ""


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
