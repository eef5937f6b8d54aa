from grader.lab.diagnosis import companions_plane
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(companions_plane.CATALOGUE, "extra.forward_step")
