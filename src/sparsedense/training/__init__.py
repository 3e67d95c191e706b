"""The three trainings on the Lightning Trainer, their plans, data streams and callbacks."""
