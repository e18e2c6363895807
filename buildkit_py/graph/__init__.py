"""Steps and ops: the build graph as pure data."""
