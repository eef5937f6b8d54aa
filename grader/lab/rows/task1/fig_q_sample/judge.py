from grader.lab.checks.training import judge_strip

judge = judge_strip
