"""From a trained model to firmware: generate the C tables, build, run, report."""
