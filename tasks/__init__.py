"""What one step does: parsers and Prefect tasks, each calling one thing in `model` or `warehouse`."""
