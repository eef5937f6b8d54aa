from grader.lab.diagnosis import forward
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(forward.CATALOGUE, "task1.q_sample")
