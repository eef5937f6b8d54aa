from grader.lab.diagnosis import simplenet
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(simplenet.CATALOGUE, "task1.simplenet")
