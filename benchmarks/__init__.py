"""What is measured, one module each; `python -m benchmarks.report` puts the figures into text."""
