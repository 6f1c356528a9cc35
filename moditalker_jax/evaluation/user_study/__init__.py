"""A user study as the paper's: its page, and the count of its answers."""
