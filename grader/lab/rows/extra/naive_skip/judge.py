from grader.lab.checks.companions_chain import judge_naive_skip

judge = judge_naive_skip
