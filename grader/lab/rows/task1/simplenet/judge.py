from grader.lab.checks.simplenet import judge_simplenet

judge = judge_simplenet
