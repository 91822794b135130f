"""Training: one loop, a task for each stage, and both stages of a trial in sequence."""
