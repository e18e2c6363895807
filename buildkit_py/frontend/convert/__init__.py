"""A Buildfile written anew as a Buildfile.py."""
