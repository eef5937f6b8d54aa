from grader.lab.checks.training import judge_training

judge = judge_training
