"""How good is a model: protocol, metrics, kNN and controls. Needs a model and a store, no trainer."""
