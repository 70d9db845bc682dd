"""Hands in a photograph: boxes, sides and 21 landmarks, by MediaPipe's two hand networks."""
