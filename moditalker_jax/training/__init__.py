"""The training loop, its four stages, checkpoints and sharding."""
