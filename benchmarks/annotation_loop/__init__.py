"""Does choosing which frame to annotate next beat drawing one? ``python -m benchmarks.annotation_loop --help``."""
