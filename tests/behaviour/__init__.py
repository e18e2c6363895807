"""The whole command line, a file a behaviour, as root and as an ordinary user."""
