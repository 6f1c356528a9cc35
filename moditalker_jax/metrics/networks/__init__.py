"""The published networks behind the measures, each with its own way of preparing the input."""
