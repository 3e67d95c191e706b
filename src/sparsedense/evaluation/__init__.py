"""How good is a model: protocol, metrics, kNN, probe, controls, robustness. Needs a model and a store, no trainer."""
