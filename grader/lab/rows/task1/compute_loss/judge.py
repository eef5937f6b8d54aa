from grader.lab.checks.losses import judge_compute_loss

judge = judge_compute_loss
