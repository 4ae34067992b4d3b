"""What `kws listen` is made of."""
