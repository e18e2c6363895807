"""Tests of buildkit_py/runner/copying."""
