"""Text for people: a stranger's text made harmless, points and verdicts in words, cells of a spreadsheet."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from grader.records import Verdict


class _Shown(dict[int, str]):
    """A table for str.translate that spells out what would steer a terminal, a browser or a reader's eye."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        steers = unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
        self[code] = f"⟨U+{code:04X}⟩" if steers or code & 0xFFFE == 0xFFFE else character
        return self[code]


_SHOWN = _Shown({ord(character): character for character in "\t\n\u200d"})  # U+200D joins emoji
_ACCENT = r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED = re.compile(f"({_ACCENT}{{4}}){_ACCENT}+")
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠])")  # Excel takes the full-width signs as well


def visible(text: str, limit: int | None = None) -> str:
    """`text` with controls, bidi overrides and lone surrogates spelt out as ⟨U+202E⟩; LF and tab stay.

    Longer texts are cut after `limit` characters, which the end of the text then says.
    """
    over = len(text) - limit if limit is not None else 0
    shown = text[:limit].replace("\r\n", "\n").translate(_SHOWN)
    shown = _STACKED.sub(r"\1", shown)  # a pile of accents would cover the lines above
    return f"{shown} … ({over:,} more characters)" if over > 0 else shown


def one_line(text: str, limit: int = 400) -> str:
    """`visible` text on one line."""
    return " ".join(visible(text.strip(), limit).split())


def number(value: float) -> str:
    """Points as people write them: 4, 3.5, 0.33."""
    return f"{round(value, 2):g}"


def word(verdict: Verdict) -> str:
    """A verdict in prose: "not implemented"."""
    return verdict.value.replace("_", " ")


def near(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known names that `name` may be a slip of, the nearest first; of `a.b` the last part may stand for the whole."""
    known = list(known)
    tails = {one.split(".")[-1]: one for one in known}
    return difflib.get_close_matches(name, known, most) or [
        tails[tail] for tail in difflib.get_close_matches(name, list(tails), most)
    ]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such name, and which may be meant: the nearest, or all."""
    known = list(known)
    meant = near(name, known, 1)
    return f"no {what} '{name}'" + (f", did you mean '{meant[0]}'?" if meant else f"; {what}s are {', '.join(known)}")


def field(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula, not even one that splits lines at semicolons."""
    return _FORMULA.sub(r"\1'", one_line(text))
