"""The vocabulary: its concepts, and the changes between two versions."""
