"""What runs inside the sandbox: it holds no answers and no tolerances, and imports nothing of the grader."""
