"""The corpus: Dockerfiles with their contexts, by theme."""
