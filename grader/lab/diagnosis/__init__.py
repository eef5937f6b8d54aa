"""Names the likely misconception behind a wrong row by matching what was observed with what each would compute."""
