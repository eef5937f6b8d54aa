from grader.lab.checks.loop import judge_p_sample_loop

judge = judge_p_sample_loop
