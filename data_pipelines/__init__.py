"""Data preparation and input pipelines: numpy, TensorFlow and TFDS, never jax."""
