"""The steps of evaluation: scores on gold data, the promotion gate, drift."""
