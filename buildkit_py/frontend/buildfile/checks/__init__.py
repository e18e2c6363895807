"""Checks: rules about what a Buildfile says, BuildKit's under their names and ours."""
