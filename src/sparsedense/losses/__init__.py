"""Losses and their weight schedule: pure modules and functions that know nothing of files or trainers."""
