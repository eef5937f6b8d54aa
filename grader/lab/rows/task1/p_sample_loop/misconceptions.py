from grader.lab.diagnosis import loop
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(loop.CATALOGUE, "task1.p_sample_loop")
