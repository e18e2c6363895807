"""Process trees in their own root filesystem and namespaces."""
