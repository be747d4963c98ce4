"""What evaluation does: scores on gold data, the promotion gate, drift."""
