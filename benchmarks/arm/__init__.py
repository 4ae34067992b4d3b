"""kws on ARM processors, under user-mode emulation: the same detections, and what they cost."""
