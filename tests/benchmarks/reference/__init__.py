"""The plain published way of doing the same work, to compare results and time with.

float32, contiguous memory, loops over heads, people and queries. Networks have the same parameter
names as ours, so that one state dict fits both.
"""
