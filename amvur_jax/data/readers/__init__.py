"""Data sets as their authors publish them, and our records of them, as Frames."""
