"""Renderings of the event stream and of the store: progress, tables."""
