"""Videos of several methods against real ones: reading, figures, and the report."""
