"""Errors that are about what a person asked for, with the exit codes of the command line."""

from __future__ import annotations

OK, UNGRADED, USAGE, FAULT = range(4)  # everything graded; some submission not; wrong usage; the grader's own fault


class UsageError(Exception):
    """Something that the person at the command line asked for does not exist or is not possible."""
