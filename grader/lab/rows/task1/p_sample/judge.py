from grader.lab.checks.reverse import judge_p_sample

judge = judge_p_sample
