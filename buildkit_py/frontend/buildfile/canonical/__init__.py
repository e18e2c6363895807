"""The canonical form of a Buildfile: same meaning, one layout."""
