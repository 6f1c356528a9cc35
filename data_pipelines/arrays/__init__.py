"""Data sets as plain arrays: for training where TensorFlow is not installed."""
