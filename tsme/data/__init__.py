"""Data sets: lists of images, their pixels, and batches of them."""
