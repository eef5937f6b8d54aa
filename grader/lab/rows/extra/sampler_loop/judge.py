from grader.lab.checks.companions_plane import judge_sampler_loop

judge = judge_sampler_loop
