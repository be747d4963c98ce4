"""What training does: gold data, one training, distillation, retraining."""
