"""Readers of the known layouts of data sets, and what they share."""
