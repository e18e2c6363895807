"""Images and targets run as containers for people."""
