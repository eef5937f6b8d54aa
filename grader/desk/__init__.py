"""The verb `desk`."""

from grader.rubric import UsageError


def main(args: list[str]) -> int:
    """Run the verb with its arguments; returns the exit code."""
    raise UsageError("'desk' is not part of this version yet")
