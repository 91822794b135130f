"""Readers of the known layouts of data sets."""
