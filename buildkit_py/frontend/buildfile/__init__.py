"""The Buildfile language: text to syntax tree to graph."""
