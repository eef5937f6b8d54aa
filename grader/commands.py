"""What all verbs of the command line share: their parser, and a line on stderr."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def command_parser(verb: str, description: str, **more: Any) -> argparse.ArgumentParser:
    """A parser that takes no abbreviations and keeps the lines of its texts."""
    return argparse.ArgumentParser(
        prog=f"ddpm-grader {verb}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )


def say(text: str, code: int = 0) -> int:
    """A line for the person on stderr; returns `code`."""
    print(f"ddpm-grader: {text}", file=sys.stderr)
    return code
