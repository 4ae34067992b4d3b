"""One module per subcommand of `kws`; kws/cli.py lists them."""
