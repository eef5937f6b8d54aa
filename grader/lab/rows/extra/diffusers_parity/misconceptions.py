from grader.lab.diagnosis import companions_images
from grader.lab.diagnosis.base import of_row

CATALOGUE = of_row(companions_images.CATALOGUE, "extra.diffusers_parity")
