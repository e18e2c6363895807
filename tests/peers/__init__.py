"""Differential tests against other engines."""
