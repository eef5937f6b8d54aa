from functools import partial

from grader.lab.checks.losses import judge_image_loss

judge = partial(judge_image_loss, predictor="x0")
