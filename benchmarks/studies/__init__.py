"""Studies that were run once: what a training option, a seed or a size is worth."""
