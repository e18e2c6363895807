"""pybuild: container images built like make builds programs."""
