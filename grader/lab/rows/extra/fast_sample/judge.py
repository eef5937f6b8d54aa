from grader.lab.checks.companions_images import judge_fast_sample

judge = judge_fast_sample
