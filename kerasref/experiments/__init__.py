"""Many trainings: what they reached, side by side."""
