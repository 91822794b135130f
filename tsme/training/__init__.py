"""Training: one loop, a task for each stage, and the chain of both."""
