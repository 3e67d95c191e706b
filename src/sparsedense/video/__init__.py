"""Files to frames and back: probe, read in order, write."""
