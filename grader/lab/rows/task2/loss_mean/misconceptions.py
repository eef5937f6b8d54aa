from grader.lab.diagnosis import losses
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(losses.CATALOGUE, "task2.loss_mean")
