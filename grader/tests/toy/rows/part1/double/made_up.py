"""Made-up answers to double."""

from grader.judging.made_up import body, mistake

ROW = "part1.double"
MISTAKES = (mistake(ROW, "square-for-double", 0.0, "return x * x"),)
STYLES = (body(ROW, "times", "return 2 * x"), body(ROW, "sum", "return x + x"))
