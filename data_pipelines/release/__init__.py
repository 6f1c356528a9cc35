"""Readers of what the authors' release has preprocessed already."""
