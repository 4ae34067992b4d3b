"""Training: the only part of kws that imports torch."""
