"""The hand fitted to silhouettes and a picture by gradients through the soft rasteriser."""
