"""Many pictures and videos to hands in Parquet, by the processes and machines of a Ray cluster."""
