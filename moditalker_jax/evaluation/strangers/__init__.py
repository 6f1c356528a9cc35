"""What a checkpoint makes of people that its training never saw."""
