"""The published PyTorch weights: their names, and the converter (the only place with torch)."""
