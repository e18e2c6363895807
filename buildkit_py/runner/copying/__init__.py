"""Copying between a container and this machine, where either side may be changed by the container meanwhile."""
