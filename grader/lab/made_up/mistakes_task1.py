"""The mistakes of Task 1: the solved lab with one TODO as a student with one misconception would write it."""

from __future__ import annotations

from grader.judging.made_up import Case
from grader.lab.made_up import (
    mistakes_task1_forward,
    mistakes_task1_loss,
    mistakes_task1_network,
    mistakes_task1_reverse,
)

CASES: tuple[Case, ...] = (
    mistakes_task1_network.CASES
    + mistakes_task1_forward.CASES
    + mistakes_task1_reverse.CASES
    + mistakes_task1_loss.CASES
)
