from grader.lab.checks.companions_images import judge_diffusers_parity

judge = judge_diffusers_parity
