"""A sandbox as the OCI runtime specification describes one, for other programs to run."""
