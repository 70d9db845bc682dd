"""Labels for pictures and videos that have none, by the hand detector."""
