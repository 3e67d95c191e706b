"""Networks: backbone, encoder, heads, and the one file that holds a trained model."""
