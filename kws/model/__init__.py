"""A trained model: its manifest, its files, the runtimes that run them, and streaming inference."""
