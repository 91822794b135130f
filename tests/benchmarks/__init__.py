"""How much faster this code does the method's work than the plain published way of doing it.

Run with `python -m tests.benchmarks`. Both sides do the same work, which is checked before anything
is timed, take turns on one thread, and their medians are compared.
"""
