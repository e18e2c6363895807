"""OCI documents, image names, and layers between a directory tree and a tar stream."""
