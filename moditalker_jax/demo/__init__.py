"""The demo and the checkpoint that it ships with."""
