"""Models and their evaluations."""
