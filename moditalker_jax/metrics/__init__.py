"""Measures of videos, faces and speech: arrays in, floats out."""
