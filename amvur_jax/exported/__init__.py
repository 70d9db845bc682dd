"""A trained network for those who have none of this code: what it computes, in files that others read."""
