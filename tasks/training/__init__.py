"""The steps of training: gold data, training, distillation, retraining."""
