"""`pybuild version`: what this is."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command("version", "show the version", ("pybuild version",))


def main(argv: list[str]) -> int:
    """Print the version, and the Python that runs it."""
    import sys
    from importlib.metadata import version

    parse(parser(), argv)
    print(f"pybuild {version('buildkit-py')} (Python {sys.version.split()[0]})")
    return 0
