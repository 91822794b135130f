"""Cameras, the places they watch, and the optics between them."""
