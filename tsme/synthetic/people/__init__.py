"""Appearance of synthetic identities: body, clothes, carried objects, tones and pose."""
