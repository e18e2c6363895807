"""The benchmark: pybuild against docker, buildah, podman, ninja, runc and bare commands, in turn, on one machine."""
