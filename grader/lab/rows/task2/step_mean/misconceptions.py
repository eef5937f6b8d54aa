from grader.lab.diagnosis import reverse
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(reverse.CATALOGUE, "task2.step_mean")
