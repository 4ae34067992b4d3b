"""Measuring a model: on clips, on streams, in noise, and the thresholds that follow."""
