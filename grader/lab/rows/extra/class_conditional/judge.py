from grader.lab.checks.companions_labels import judge_class_conditional

judge = judge_class_conditional
