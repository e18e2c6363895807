"""Buildfile.py: the graph as a program."""
