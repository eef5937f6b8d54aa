from functools import partial

from grader.lab.checks.reverse import judge_image_step

judge = partial(judge_image_step, predictor="noise")
