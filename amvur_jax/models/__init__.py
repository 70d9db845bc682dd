"""The network's parts."""
