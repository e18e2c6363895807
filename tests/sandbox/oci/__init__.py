"""Tests of sandboxes that other programs run."""
