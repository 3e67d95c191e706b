"""Videos of a source, the frame store, and batches of clips from it."""
