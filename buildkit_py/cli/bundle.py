"""`pybuild bundle`: write an OCI runtime bundle of an image or a target, for crun, runc and others to run."""

from __future__ import annotations

import os

from buildkit_py.cli.options import Command, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.bundle import Bundle

# Of `pybuild run`: what a container is, but not how it is run.
_RUN_ONLY = (
    *("interactive", "runtime", "detach", "name", "restart", "stop-signal", "stop-timeout", "rm"),
    *("publish", "publish-all"),
)


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli.run import HEALTH
    from buildkit_py.cli.run import parser as run_parser

    options = [option for option in run_parser().options if option.key not in (*_RUN_ONLY, *HEALTH)]
    return Command(
        "bundle",
        "write an image or a target as an OCI bundle",
        ("pybuild bundle [options] IMAGE|FILE[:TARGET] DIRECTORY [--] [COMMAND [ARGUMENT…]]",),
        tuple(options),
        about=(
            "The bundle is what `pybuild run` with the same options would start: the files in `rootfs`, and a "
            "config.json of the OCI runtime specification with its namespaces, mounts, capabilities and system call "
            "filter. The directory is made, or is empty. What an ordinary user writes is for the same user to run."
        ),
        examples=(
            ("pybuild bundle debian:13 box && sudo crun run --bundle box mine", "run it with crun"),
            ("pybuild bundle --network=none Buildfile:web web -- serve --port=80", "a target, with another command"),
        ),
        least=2,
        most=-1,
        stops=True,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Write the bundle; the code is 0."""
    import sys

    from buildkit_py.api.bundle import write_bundle
    from buildkit_py.cli.locate import here
    from buildkit_py.cli.progress import if_busy, shown
    from buildkit_py.cli.run import run_request

    parsed = parse(parser(), argv)
    cwd = here()
    directory = os.path.join(cwd, parsed.operands.pop(1))
    if parsed.operands[1:2] == ["--"]:
        del parsed.operands[1]
    request = run_request(parsed, os.environ, cwd)
    bundle: Bundle = shown("auto", lambda emit: write_bundle(request, directory, if_busy(emit)))
    if bundle.left_out:
        sys.stderr.write(
            f"warning: {len(bundle.left_out)} device files were left out, for they need root: {bundle.left_out[0]}, …\n"
        )
    sys.stdout.write(f"{bundle.directory}\n")
    return 0
