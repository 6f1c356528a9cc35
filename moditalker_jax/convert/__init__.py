"""The release's PyTorch checkpoints, turned into this project's Orbax checkpoints."""
