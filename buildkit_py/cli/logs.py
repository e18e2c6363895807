"""`pybuild logs`: what the steps of a build wrote, in full, or a container."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.cli.project import FILE, PROJECT
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Parsed


def parser() -> Command:
    """The command's table."""
    return Command(
        "logs",
        "print what the steps of a build, or a container, wrote",
        (
            "pybuild logs [options] [BUILD [STEP]]",
            "pybuild logs [options] CONTAINER",
            "pybuild logs [options] -p PROJECT|--file=FILE [SERVICE…]",
        ),
        (
            Option(("--raw",), "print the bytes as they were written, terminal escapes and all"),
            Option(("--list",), "list the steps of a build instead"),
            Option(("-f", "--follow"), "wait for what a container is still going to write"),
            Option(("-n", "--tail"), "only so many of a container's last lines", "N"),
            Option(("-t", "--timestamps"), "put the time before each of a container's lines"),
            PROJECT,
            Option(FILE.names[1:], "the project of this compose file", FILE.value, many=True, completes=FILE.completes),
        ),
        about=(
            "Without BUILD it is the last one (`pybuild builds` lists them); STEP is the number of a step or a part of "
            "its text. The log of one step is printed alone, several with a heading each. CONTAINER is the name or the "
            "id of a container; what it wrote to standard error comes out there. Of a project's containers each line "
            "stands behind the name of its service."
        ),
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Print the logs. Raises `UsageError` for a build, step or container that is not known."""
    from buildkit_py.report.escape import visible

    parsed = parse(parser(), argv)
    if "project" in parsed.given or "file" in parsed.given:
        return _project(parsed)
    if len(parsed.operands) > 2:
        raise UsageError(f"`pybuild logs` cannot take `{parsed.operands[2]}`", hint="a build, and a step of it")
    id, step = (*parsed.operands, "", "")[:2]
    if _means_container(parsed, id, step):
        return _container(parsed, id)
    from buildkit_py.api.builds import logs

    record, found = logs(id, step)
    if parsed.has("list"):
        for one in record.steps:
            if one.id and one.state:
                sys.stdout.write(f"{one.id:>4}  {one.state:<8}{visible(one.name)}\n")
        return 0
    for one, service, data in found:
        if len(found) > 1 or not step:
            beside = f", service {visible(service)}" if service else ""
            sys.stdout.write(f"==> {one.id} {visible(one.name)}{beside}\n")
        if parsed.has("raw"):
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            continue
        for line in data.decode("utf-8", "replace").splitlines():
            sys.stdout.write(visible(line) + "\n")
    return 0


def _means_container(parsed: Parsed, name: str, step: str) -> bool:
    """Whether a container's log is wanted: by an option that only it has, or because there is one of that name."""
    if any(parsed.has(option) or parsed.one(option) for option in ("follow", "tail", "timestamps")):
        if not name or step:
            raise UsageError("`-f`, `-n` and `-t` are for the log of one container", hint="name it")
        return True
    if not name or step or parsed.has("list"):
        return False
    from buildkit_py.api.containers import listed

    # A build has only its whole id, which is no beginning of a container's: it has a `-`.
    return any(name == about.name or about.id.startswith(name) for about, _ in listed())


def _project(parsed: Parsed) -> int:
    from buildkit_py.cli.project import name_of
    from buildkit_py.cli.project_logs import show_logs

    if parsed.has("raw") or parsed.has("list"):
        raise UsageError("`--raw` and `--list` are not for a project", hint="leave them out, or name one container")
    show_logs(
        name_of(parsed),
        parsed.operands,
        tail=_tail(parsed),
        follow=parsed.has("follow"),
        timestamps=parsed.has("timestamps"),
    )
    return 0


def _tail(parsed: Parsed) -> int:
    from buildkit_py.cli.values import count

    tail = parsed.one("tail", "-1")
    return count(tail, "--tail") if tail not in ("0", "-1") else int(tail)


def _container(parsed: Parsed, name: str) -> int:
    from buildkit_py.api.containers import log
    from buildkit_py.report.escape import visible

    lines = log(name, tail=_tail(parsed), follow=parsed.has("follow"))
    for line in lines:
        out = sys.stdout if line.stream == 1 else sys.stderr
        time = f"{line.time} " if parsed.has("timestamps") else ""
        if parsed.has("raw"):
            out.flush()
            out.buffer.write(time.encode() + line.data)
            out.buffer.flush()
            continue
        text = line.data.decode("utf-8", "replace")
        ended = text.endswith("\n")
        out.write(time + visible(text.removesuffix("\n").removesuffix("\r")) + "\n" * ended)
        out.flush()
    return 0
