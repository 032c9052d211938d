"""Training: augmented batches, the loop, its record on disk."""
