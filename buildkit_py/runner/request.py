"""What a person asks of `pybuild run`, as a plain record."""

from __future__ import annotations

from buildkit_py.record import Record


class RunRequest(Record):
    """What `pybuild run` runs: `what` is an image reference, or `FILE:TARGET` / `FILE` of a Buildfile.

    None in `entrypoint` keeps the image's. `volumes` are (source, target, read_only) with an absolute
    source directory or file. `network` is "default", "isolated", "host" or "none". `interactive` keeps
    standard input, `terminal` allocates one.
    """

    what: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[tuple[str, str, bool], ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    network: str = "default"
    read_only: bool = False
    interactive: bool = False
    terminal: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    pull: bool = False
    store: str = ""
