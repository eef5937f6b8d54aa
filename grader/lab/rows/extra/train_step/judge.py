from grader.lab.checks.companions_plane import judge_train_step

judge = judge_train_step
