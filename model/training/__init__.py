"""Training: recipes, samples, losses, pre-training, hyper-parameter search, and the calibration of inference."""
