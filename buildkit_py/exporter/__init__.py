"""Writes a result somewhere, one sink a file."""
