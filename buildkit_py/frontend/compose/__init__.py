"""Compose files, as the Compose Specification has them: from a compose.yaml to an immutable `Project`.

document      YAML to values that know their places
variables     ${NAME:-default} in a text;  dotenv: the files with variables
merge         several files, and what a service extends, become one
files         which files there are: found, included, extended
words         a command that is a string, as words
reader        a value as what a key wants, or an error that says where
services, builds, mounts, ports, networks, dependencies, limits: the parts of a service
project       the records
"""
