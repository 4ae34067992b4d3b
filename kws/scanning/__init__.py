"""Searching long recordings for keywords, many at once, and picking up where a run stopped."""
