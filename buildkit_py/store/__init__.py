"""The machine-local state: blobs, layers, snapshots, records, images."""
