"""Caches elsewhere: records and layers that travel between machines."""
