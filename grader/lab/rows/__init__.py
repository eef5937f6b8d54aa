"""A folder for each row that a machine judges; see grader.labs."""
