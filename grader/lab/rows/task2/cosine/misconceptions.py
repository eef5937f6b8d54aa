from grader.lab.diagnosis import cosine
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(cosine.CATALOGUE, "task2.cosine")
