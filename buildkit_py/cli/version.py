"""`pybuild version`: what this is."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command("version", "show the version", ("pybuild version",))


def main(argv: list[str]) -> int:
    """Print the version, and the Python that runs it."""
    import sys

    parse(parser(), argv)
    print(f"pybuild {this_version()} (Python {sys.version.split()[0]})")
    return 0


def this_version() -> str:
    """The version, which a test compares with that of the distribution: to ask for that one is 25 ms."""
    from buildkit_py.cli.first_tier import VERSION

    return VERSION
