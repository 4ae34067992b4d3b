"""What a running listener hears, in sums, and whether it has drifted since."""
