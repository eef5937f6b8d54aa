"""Misconceptions about double."""

import numpy as np

from grader.judging.diagnosis import Misconception
from grader.tests.toy.rows.part1.double.judge import EQUATION, DoubleObservation


def _squares(seen: DoubleObservation) -> bool:
    return seen.y is not None and bool(np.allclose(seen.y, seen.x**2, atol=1e-4))


CATALOGUE = (Misconception("square-for-double", "the number is squared", "What is twice three?", EQUATION, _squares),)
