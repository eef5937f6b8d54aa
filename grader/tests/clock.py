"""What something cost, as a machine that is busy with other work does not change it."""

import os


def cpu_seconds() -> float:
    """Of this process and of its children that have ended, with theirs."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
