"""Performs one op: makes its layer."""
