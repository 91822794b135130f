"""The steps of the workflow, each run by Ray."""
