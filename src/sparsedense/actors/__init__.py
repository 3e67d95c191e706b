"""The procedural data set: articulated people who act, as ordinary video files."""
