"""Real-time, on-device keyword spotting."""
