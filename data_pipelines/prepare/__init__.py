"""From real videos to training shards."""
