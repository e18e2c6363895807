"""Inputs that nobody wrote, held against what must be true of every input."""
