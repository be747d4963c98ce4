"""The vocabulary: entities, and what changed between two versions."""
