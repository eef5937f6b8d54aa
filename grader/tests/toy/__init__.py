"""A lab of one row, to prove where the boundary lies: the whole grader works for it as it does for the course's lab."""

from grader.labs import Half, Lab

LAB = Lab(
    "grader.tests.toy",
    (Half("part1", "toy_half", "Part 1 · arithmetic", ("toy.py",), "toy.py"),),
    suffix="_toy",
)
