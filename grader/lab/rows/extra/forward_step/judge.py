from grader.lab.checks.companions_chain import judge_forward_step

judge = judge_forward_step
