"""From videos to answers: what to read, which clips of it, and what a model says about them."""
