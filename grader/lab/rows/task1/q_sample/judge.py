from grader.lab.checks.forward import judge_q_sample

judge = judge_q_sample
