"""What the hot parts cost beside what one would take instead: ``python -m benchmarks [NAME ...]``."""

#: begins the lines by which :mod:`benchmarks.marks` tells :mod:`benchmarks.startup` how far a start has come
MARK = "benchmark mark:"
