"""The student's own tools for the DDPM lab: `python -m grader check` and `python -m grader pack ID`."""
