"""Networks of sandboxes: namespaces of their own that reach out, made ahead and kept apart from this machine's."""
