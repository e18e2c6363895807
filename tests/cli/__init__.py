"""Tests of buildkit_py/cli."""
