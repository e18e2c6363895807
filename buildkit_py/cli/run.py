"""`pybuild run`: run a command in an image or a target, in the foreground or detached."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import OutputLost, PybuildError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.api.make_container import Detached
    from buildkit_py.cli.options import Parsed
    from buildkit_py.runner.request import RunRequest

# docker's code for whatever goes wrong before the command runs.
NOT_STARTED = 125
_REFUSED = (126, 127)  # of one in the background: its command is not executable, or not there

_OPTIONS = (
    Option(("-e", "--env"), "set a variable; NAME alone takes its value from here", "NAME=VALUE", many=True),
    Option(("--env-file",), "set the variables of a file, a line each", "FILE", many=True, completes="file"),
    Option(("-v", "--volume"), "mount a path of this machine, or a named volume", "SOURCE:TARGET[:ro]", many=True),
    Option(("-w", "--workdir"), "the directory to start in", "DIR"),
    Option(("-u", "--user"), "the user to run as, by name or number", "USER[:GROUP]"),
    Option(("--entrypoint",), "run this instead of the image's entrypoint", "PROGRAM"),
    Option(("-i", "--interactive"), "connect standard input"),
    Option(("-t", "--tty"), "give it a terminal"),
    Option(("--read-only",), "let nothing of the image be written to"),
    Option(
        ("--network",), "its network: isolated, host, none; with -d also project:NAME, that of a project", "NETWORK"
    ),
    Option(("--network-alias",), "another name under which the others of its project find it", "NAME", many=True),
    Option(("-p", "--publish"), "reach a port of it at one of this machine", "[[IP:]PORT:]PORT[/udp]", many=True),
    Option(("-P", "--publish-all"), "the same for all that the image exposes, at any that are free"),
    Option(("-h", "--hostname"), "its host name", "NAME"),
    Option(("-m", "--memory"), "the most memory that it gets, swap included", "SIZE"),
    Option(("--cpus",), "the most processors that it gets: 1.5", "NUMBER"),
    Option(("--pids-limit",), "the most processes that it gets, -1: any number", "NUMBER"),
    Option(("--shm-size",), "the size of /dev/shm, 64m where nothing is said", "SIZE"),
    Option(("--ulimit",), "a resource limit for each process: nofile=1024:4096", "NAME=SOFT[:HARD]", many=True),
    Option(("--tmpfs",), "a file system in memory: /run:size=64m,mode=755", "PATH[:OPTION,…]", many=True),
    Option(("--cap-add",), "give it a capability, or ALL", "NAME", many=True),
    Option(("--cap-drop",), "take a capability from it, or ALL", "NAME", many=True),
    Option(("--security-opt",), "no-new-privileges, or seccomp=unconfined", "OPTION", many=True),
    Option(("--hardened",), "no capabilities, no new privileges, a read-only root, and a tmpfs on /tmp"),
    Option(("--add-host",), "add a line to its /etc/hosts", "NAME:ADDRESS", many=True),
    Option(("--pull",), "ask the registry for a newer image first", choices=("always", "missing")),
    Option(("--init",), "let an init program of this machine be its first process, which reaps and passes signals on"),
    Option(("--runtime",), "let crun or runc run it: a name, or the program's absolute path", "RUNTIME"),
    Option(("-d", "--detach"), "run it in the background, and print its id"),
    Option(("--name",), "its name; only with -d", "NAME"),
    Option(("--restart",), "start it again when it ended: no, on-failure[:N], always; only with -d", "POLICY"),
    Option(("--health-cmd",), "the check of its health, for its shell; only with -d", "COMMAND"),
    Option(("--health-interval",), "the time between two checks: 30s, 1m30s; only with -d", "TIME"),
    Option(("--health-timeout",), "how long a check may take, 30s; only with -d", "TIME"),
    Option(("--health-retries",), "how many checks in a row make it unhealthy, 3; only with -d", "N"),
    Option(("--health-start-period",), "how long failures do not count at its start, 0s; only with -d", "TIME"),
    Option(("--health-start-interval",), "the time between two checks then, 5s; only with -d", "TIME"),
    Option(("--no-healthcheck",), "do not check its health, whatever the image says; only with -d"),
    Option(("--stop-signal",), "what `pybuild stop` sends it; only with -d", "SIGNAL"),
    Option(("--stop-timeout",), "how long it has then, in seconds; only with -d", "SECONDS"),
    Option(("--rm",), "remove it at its end; in the foreground it is, in any case"),
)
# What `confine` reads, which is loaded only where one of them is given.
_CONFINING = frozenset(
    ("memory", "cpus", "pids-limit", "shm-size", "ulimit", "tmpfs", "cap-add", "cap-drop", "security-opt", "hardened")
)
_DETACHED = ("name", "restart", "stop-signal", "stop-timeout")
# What `health` reads, of containers in the background only, too.
HEALTH = (
    *("health-cmd", "health-interval", "health-timeout", "health-retries"),
    *("health-start-period", "health-start-interval", "no-healthcheck"),
)


def parser() -> Command:
    """The command's table."""
    return Command(
        "run",
        "run a command in an image or a target",
        ("pybuild run [options] IMAGE|FILE[:TARGET] [--] [COMMAND [ARGUMENT…]]",),
        _OPTIONS,
        about=(
            "The image is taken from the local store, else from its registry; a target of a Buildfile is built first. "
            "Without a COMMAND the image's own is run. What it writes goes to a layer that is dropped at its end; with "
            "`-d` it stays until `pybuild rm`. "
            "The exit code is the command's; 125: it could not be started, 126: it is not executable, "
            "127: it was not found, 128+N: signal N ended it."
        ),
        examples=(
            ("pybuild run -it debian:13 bash", "a shell in an image"),
            ("pybuild run Buildfile.py:app -- pybuild --version", "a command in a target"),
            ("pybuild run -d --name=web --restart=on-failure Buildfile:web", "a service in the background"),
        ),
        least=1,
        most=-1,
        stops=True,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Run what the command line says; its exit code, or 125 where it could not be started."""
    from buildkit_py.cli.guard import Reported, say
    from buildkit_py.cli.locate import here

    try:
        parsed = parse(parser(), argv)
        request = run_request(parsed, os.environ, here())
        if request.terminal and request.interactive and not sys.stdin.isatty():
            raise UsageError("`-it` needs standard input to be a terminal", hint="leave `-t` out")
        from buildkit_py.cli.progress import if_busy, shown

        if parsed.has("detach"):
            from buildkit_py.api.containers import start_detached

            wanted = _detached(parsed, request)
            id = shown("auto", lambda emit: start_detached(request, wanted, if_busy(emit)))
            sys.stdout.write(f"{id}\n")
            return 0
        for name in (*_DETACHED, *HEALTH):
            if name in parsed.given:
                raise UsageError(f"`--{name}` is for containers in the background", hint="add `-d`")
        from buildkit_py.api.run import prepare

        container = shown("auto", lambda emit: prepare(request, if_busy(emit)))
        code = container.run()
        if container.out_of_memory:
            say(_out_of_memory(parsed.one("memory")))
        return code
    except Reported as reported:
        return reported.code if reported.code in _REFUSED else NOT_STARTED
    except OutputLost as lost:
        return say(lost)
    except PybuildError as error:
        say(error)
        return NOT_STARTED


def _out_of_memory(most: str) -> PybuildError:
    return PybuildError(
        f"out of memory: the container needed more than the {most} that its --memory allows",
        hint="the kernel killed what took most of it",
    )


def _detached(parsed: Parsed, request: RunRequest) -> Detached:
    from buildkit_py.api.make_container import Detached
    from buildkit_py.cli import values
    from buildkit_py.runner.restart import parse_restart
    from buildkit_py.sandbox.signal_number import signal_number

    if request.runtime:
        raise UsageError("another runtime runs containers in the foreground only", hint="leave `-d` or `--runtime` out")
    if request.interactive:
        raise UsageError("a container in the background has no standard input", hint="leave `-i` out")
    restart = parse_restart(parsed.one("restart", "no"))
    if parsed.has("rm") and restart.policy != "no":
        raise UsageError("`--rm` and `--restart` contradict each other", hint="leave one of them out")
    timeout = parsed.one("stop-timeout")
    return Detached(
        name=parsed.one("name"),
        restart=restart,
        remove=parsed.has("rm"),
        stop_signal=signal_number(parsed.one("stop-signal")) if parsed.one("stop-signal") else 0,
        patience=values.seconds(timeout, "--stop-timeout") if timeout else 10.0,
    )


def _network(parsed: Parsed) -> str:
    """What `--network` asks for. Raises `UsageError`."""
    network = parsed.one("network", "default")
    of_a_project = network.startswith("project:") and len(network) > len("project:")
    if network not in ("default", "isolated", "host", "none") and not of_a_project:
        raise UsageError(
            f"`--network {network}` is no network",
            hint="it takes `isolated`, `host`, `none`, and with -d `project:NAME`",
        )
    if of_a_project and not parsed.has("detach"):
        raise UsageError("the network of a project is for containers in the background", hint="add `-d`")
    if parsed.all("network-alias") and not of_a_project:
        raise UsageError("`--network-alias` is for the network of a project", hint="add `--network=project:NAME`")
    return network


def run_request(parsed: Parsed, env: Mapping[str, str], cwd: str) -> RunRequest:
    """The request that a command line makes. Raises `UsageError`."""
    from buildkit_py.cli import values
    from buildkit_py.runner.request import RunRequest

    variables: dict[str, str] = {}
    for path in parsed.all("env-file"):
        variables.update(values.env_file(os.path.join(cwd, path), env))
    variables.update(values.from_environment(parsed.all("env"), "--env", env))
    workdir = parsed.one("workdir")
    if workdir and not workdir.startswith("/"):
        raise UsageError(f"the working directory `{workdir}` is not absolute")
    entrypoint = parsed.all("entrypoint")
    request = RunRequest(
        what=parsed.operands[0],
        command=tuple(parsed.operands[1:]),
        # An empty one clears the image's, as docker has it.
        entrypoint=(entrypoint[-1],) * bool(entrypoint[-1]) if entrypoint else None,
        env=tuple(variables.items()),
        volumes=tuple(values.volume(text, cwd) for text in parsed.all("volume")),
        workdir=workdir,
        user=parsed.one("user"),
        hostname=values.hostname(parsed.one("hostname")),
        network=_network(parsed),
        aliases=tuple(parsed.all("network-alias")),
        read_only=parsed.has("read-only"),
        interactive=parsed.has("interactive"),
        terminal=parsed.has("tty"),
        hosts=tuple(values.host(text) for text in parsed.all("add-host")),
        pull=parsed.one("pull") in ("true", "always"),
        runtime=parsed.one("runtime"),
        init=parsed.has("init"),
        ports=tuple(port for text in parsed.all("publish") for port in values.published(text)),
        publish_all=parsed.has("publish-all"),
    )
    if any(name in parsed.given for name in HEALTH):
        from buildkit_py.cli.health import health_check

        request = request.replace(health=health_check(parsed))
    if not _CONFINING.isdisjoint(parsed.given):
        from buildkit_py.cli.confine import confined

        request = confined(request, parsed)
    _refuse_hidden(request)
    return request


def _refuse_hidden(request: RunRequest) -> None:
    """Of two mounts at one place, the first would be of no use to anybody; docker refuses them as well."""
    taken: set[str] = set()
    for target in (*[target for _, target, _ in request.volumes], *[mount.target for mount in request.tmpfs]):
        if target in taken:
            raise UsageError(f"two mounts are to be at `{target}`", hint="leave one of them out")
        taken.add(target)
