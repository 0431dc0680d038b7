"""Which loss for my data: runs of many methods, and what their scores prove."""
