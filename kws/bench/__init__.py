"""What `kws bench` measures, one module each; nothing here runs while kws listens."""
