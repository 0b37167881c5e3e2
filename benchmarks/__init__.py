"""What the hot parts cost beside what one would take instead: ``python -m benchmarks [NAME ...]``."""
