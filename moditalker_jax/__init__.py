"""MoDiTalker in JAX: a face and speech in, a talking video out."""

__version__ = "0.1.0"
