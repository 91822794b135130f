"""Data sets: lists of images, their pixels, batches, and generated data."""
