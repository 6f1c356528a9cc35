"""Measurements of generated motion and video: arrays in, floats out."""
