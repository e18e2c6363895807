"""The two doors into a graph: Buildfiles and Buildfile.py."""
