"""Reports: every metric of a task in one pass over a batch, from a small state that merges exactly."""
