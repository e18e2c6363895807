"""Entry point of the `pybuild` command."""


def main() -> int:
    return 0
