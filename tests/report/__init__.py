"""Tests of buildkit_py/report."""
