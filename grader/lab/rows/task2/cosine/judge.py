from grader.lab.checks.cosine import judge_cosine

judge = judge_cosine
