from grader.lab.checks.forward import judge_add_noise

judge = judge_add_noise
