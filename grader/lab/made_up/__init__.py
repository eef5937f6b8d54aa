"""Made-up submissions for tests, the demo and the benchmarks: the solved lab with chosen TODO bodies replaced."""
