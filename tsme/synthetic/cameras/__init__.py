"""Cameras: scenery, light, optics and noise."""
