"""What runs several trainings: comparisons over paired seeds, and the demo."""
