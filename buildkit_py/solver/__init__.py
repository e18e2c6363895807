"""Decides what must run: keys, plan, schedule."""
