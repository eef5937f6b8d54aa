"""Guesses the encoding of names and source files, and recodes source to plain UTF-8."""

from __future__ import annotations

import re
from itertools import islice

NOT_ASCII = re.compile(r"[^\x00-\x7f]")
COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
# Encodings that a cookie may name; Python's others (idna, punycode, escapes) are slow or no text.
TEXT = re.compile(r"(?i)(utf|u8|gb|big5|cp|iso|latin|ascii|us-ascii|euc|shift|sjis|koi|mac|windows)[-\w]*$")
LABELS = {
    "utf-8-sig": "UTF-8 with a BOM",
    "gb18030": "GBK",
    "cp950": "Big5",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-16": "UTF-16",
    "latin-1": "an unknown encoding (read as Latin-1)",
}
LOOKED_AT = 1 << 15  # characters by which two Chinese encodings are told apart
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def guess(raw: bytes) -> str | None:
    """UTF-16 without a mark, UTF-8, GB 18030 or Big5 (cp950), whichever fits `raw`; None where none does."""
    for encoding in (*_utf16(raw), "utf-8"):
        if _decodes(raw, encoding):
            return encoding
    # Both Chinese encodings accept most bytes; in the right one nearly all characters are common ones.
    scores = {encoding: _common(raw, encoding) for encoding in ("gb18030", "cp950") if _decodes(raw, encoding)}
    return max(scores, key=lambda encoding: scores[encoding], default=None)


def recode(raw: bytes) -> tuple[bytes, str | None]:
    """Source as UTF-8 without a mark and with LF, and what it was (None for UTF-8, whatever its line ends).

    Bytes that fit no encoding are taken as Latin-1, which fits always: most often only a comment suffers.
    """
    declared = _cookie(raw)
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), None)
    if encoding is None and declared and TEXT.match(declared) and _decodes(raw, declared):
        encoding = declared
    if encoding is None or not _decodes(raw, encoding):
        encoding = guess(raw) or "latin-1"
    plain = raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n").encode()
    lines = plain.split(b"\n", 2)
    for number, line in enumerate(lines[:2]):
        match = COOKIE.match(line)
        if match and match[1].lower() not in (b"utf-8", b"utf8"):
            lines[number] = line[: match.start(1)] + b"utf-8" + line[match.end(1) :]
    was_utf8 = encoding.lower() in ("utf-8", "utf8", "ascii", "us-ascii")
    return b"\n".join(lines), None if was_utf8 else LABELS.get(encoding, encoding)


def _cookie(raw: bytes) -> str | None:
    for line in raw.split(b"\n", 2)[:2]:
        if match := COOKIE.match(line):
            return match[1].decode("ascii", "replace")
    return None


def _utf16(raw: bytes) -> tuple[str, ...]:
    """UTF-16 without a mark: source is mostly ASCII, so every second byte is zero."""
    if len(raw) < 4 or len(raw) % 2 or raw.count(0) < len(raw) // 4:
        return ()
    odd = raw[1::2].count(0) > raw[0::2].count(0)
    return ("utf-16-le" if odd else "utf-16-be",)


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except (UnicodeError, LookupError, ValueError):
        return False
    return True


def _common(raw: bytes, encoding: str) -> float:
    """Share of the two-byte characters that lie in the common level of their character set.

    Of a long text the first ones are looked at: each costs a step of Python, which a stranger's megabytes must not.
    """
    common = total = 0
    for found in islice(NOT_ASCII.finditer(raw.decode(encoding)), LOOKED_AT):
        char = found[0]
        code = char.encode(encoding)
        total += 1
        if len(code) == 2:
            lead, trail = code
            symbol = 0xA1 <= lead <= 0xA3
            level1 = 0xB0 <= lead <= 0xD7 and trail >= 0xA1 if encoding == "gb18030" else 0xA4 <= lead <= 0xC6
            common += symbol or level1
    return common / total if total else 1.0
