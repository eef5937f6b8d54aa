"""The verb `export`."""

from grader.rubric import UsageError


def main(args: list[str]) -> int:
    """Run the verb with its arguments; returns the exit code."""
    raise UsageError("'export' is not part of this version yet")
