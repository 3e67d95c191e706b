"""Models as files that other programs run (ONNX, torch.export), and such files as models that take videos."""
