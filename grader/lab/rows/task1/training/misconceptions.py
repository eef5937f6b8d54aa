from grader.lab.diagnosis import training
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(training.CATALOGUE, "task1.training")
