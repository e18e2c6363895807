"""HTTP for all who speak it: registries and the sources of steps."""
