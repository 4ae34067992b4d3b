"""Statistics of a running detector, and whether they have drifted."""
