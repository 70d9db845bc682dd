"""What `scripts/benchmark.py` measures: one module a suite, each with run(quick) that yields rows."""
