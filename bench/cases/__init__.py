"""The cases of the benchmark, a file a kind."""
