"""Values of options that have a form of their own: pairs, secrets, extra hosts, times."""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit_py.api.request import Secret, SizeLimits, Ssh
    from buildkit_py.runner.published import Published


def pair(text: str, option: str) -> tuple[str, str]:
    """`NAME=value`. Raises `UsageError` without a name or without a value."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"`{option} {text}` is no `NAME=value`")
    return name, value


def from_environment(texts: Sequence[str], option: str, env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`NAME=value` or `NAME`, which takes its value from our environment and is dropped where that lacks it."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"`{option} {text}` has no name", hint=f"write `{option} NAME=value`")
        if equals:
            pairs.append((name, value))
        elif name in env:
            pairs.append((name, env[name]))
    return tuple(pairs)


def hostname(text: str) -> str:
    """The name of a `--hostname`. Raises `UsageError` for one that is no text in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise UsageError(f"`--hostname {text}` is no UTF-8") from problem
    return text


def env_file(path: str, env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables of a `--env-file`: lines `NAME=value` or `NAME`, `#` comments; values are taken as they stand."""
    from buildkit_py.whole_file import read_whole

    try:
        text = read_whole(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        lines = [line.lstrip() for line in text.split("\n")]
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no UTF-8"
        raise UsageError(f"the env file `{path}` could not be read: {reason}") from problem
    for number, line in enumerate(lines, 1):
        name = line.partition("=")[0]
        if line and not line.startswith("#") and (not name or any(ch.isspace() for ch in name)):
            raise UsageError(f"`{name}` is no name of a variable", at=f"{path}:{number}")
    return from_environment([line for line in lines if line and not line.startswith("#")], "--env-file", env)


def secret(text: str, env: Mapping[str, str], cwd: str) -> Secret:
    """`id=NAME[,src=FILE|,env=VARIABLE][,scan=false]`; with the id alone, the variable of that name or else the file.

    As buildx reads it: `source` is `src`, and `type=env,src=NAME` is `env=NAME`. Raises `UsageError`.
    """
    from buildkit_py.api import request

    fields = fields_of(text, "--secret", ("id", "src", "source", "env", "type", "scan"))
    name = fields.get("id", "")
    file = fields.get("src", "") or fields.get("source", "")
    variable = fields.get("env", "")
    kind = fields.get("type", "")
    if fields.get("scan", "true") not in ("true", "false"):
        raise UsageError(f"`--secret {text}`: `scan` is `true` or `false`")
    if kind not in ("", "file", "env"):
        raise UsageError(f"`--secret {text}` has the type `{kind}`", hint="it is `file` or `env`")
    if not name:
        raise UsageError(f"`--secret {text}` has no `id`", hint="write `--secret id=NAME,src=FILE`")
    if kind == "env" and not variable:
        file, variable = "", file
    if file and variable:
        raise UsageError(f"`--secret {text}` names a file and a variable")
    if not file and not variable:
        variable, file = (name, "") if name in env else ("", name)
    if variable and variable not in env:
        raise UsageError(f"the secret `{name}` is to come from `${variable}`, which is not set")
    if file:
        file = os.path.abspath(os.path.join(cwd, os.path.expanduser(file)))
        if not os.path.exists(file) or os.path.isdir(file):
            raise UsageError(f"the secret `{name}` is to come from `{file}`, which is no file")
    return request.Secret(name, file=file, env=variable, scan=fields.get("scan") != "false")


def ssh(text: str, env: Mapping[str, str], cwd: str) -> Ssh:
    """`default` or another id, which is the agent of `$SSH_AUTH_SOCK`, or `ID=SOCKET` or `ID=KEY[,KEY…]`.

    Raises `UsageError`.
    """
    from buildkit_py.api import request

    name, equals, rest = text.partition("=")
    if not name or (equals and not rest):
        raise UsageError(f"`--ssh {text}` is none of `default`, `ID=SOCKET` and `ID=KEYFILE`")
    if not rest:
        socket = env.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(
                f"`--ssh {text}` is the agent of `$SSH_AUTH_SOCK`, which is not set",
                hint="start one with `eval $(ssh-agent)`, or name its socket or a key: --ssh " + f"{name}=PATH",
            )
        return request.Ssh(name, socket=_agent_socket(name, socket))
    paths = [os.path.abspath(os.path.join(cwd, os.path.expanduser(path))) for path in rest.split(",")]
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(f"the ssh agent `{name}` is to come from `{path}`, which is not there")
    if not any(_is_socket(path) for path in paths):
        return request.Ssh(name, keys=tuple(paths))
    if len(paths) > 1:
        raise UsageError(f"`--ssh {text}` names a socket and something else", hint="one socket, or any number of keys")
    return request.Ssh(name, socket=paths[0])


def _agent_socket(name: str, path: str) -> str:
    if not _is_socket(path):
        raise UsageError(f"the ssh agent `{name}` is to come from `{path}` ($SSH_AUTH_SOCK), which is no socket")
    return os.path.abspath(path)


def _is_socket(path: str) -> bool:
    from stat import S_ISSOCK

    try:
        return S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def host(text: str) -> tuple[str, str]:
    """`NAME:ADDRESS` or `NAME=ADDRESS` of `--add-host`; an IPv6 address may stand in brackets, and `host-gateway` for
    one of this machine. Raises `UsageError`.
    """
    from ipaddress import ip_address

    from buildkit_py.sandbox.resolv import HOST_GATEWAY

    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    address = address.removeprefix("[").removesuffix("]") if address.startswith("[") else address
    if not name or not found:
        raise UsageError(f"`--add-host {text}` is no `NAME:ADDRESS`")
    if address == HOST_GATEWAY:
        return name, address
    try:
        ip_address(address)
    except ValueError:
        raise UsageError(f"`--add-host {text}`: `{address}` is no address") from None
    return name, address


def published(text: str) -> tuple[Published, ...]:
    """What a `-p` publishes. Raises `UsageError`."""
    from buildkit_py.runner.published import parse_published

    try:
        return parse_published(text)
    except ValueError as problem:
        raise UsageError(f"`-p {text}`: {problem}", hint="write -p 8080:80, -p 0.0.0.0:53:53/udp, or -p 80") from None


def volume(text: str, cwd: str) -> tuple[str, str, bool]:
    """`SOURCE:TARGET[:ro|rw]`: (absolute source, target, read-only). Raises `UsageError`.

    The source must be there: a directory made by a typing error is of use to nobody. One without a `/` is no path but
    the name of a volume, as docker has it, and stays as it is.
    """
    source, _, rest = text.partition(":")
    target, _, flags = rest.partition(":")
    if not source or not target.startswith("/") or target.strip("/") == "":
        raise UsageError(f"`-v {text}` is no `SOURCE:TARGET` with an absolute target below `/`")
    read_only = False
    for flag in flags.split(",") if flags else ():
        if flag not in ("ro", "rw", "z", "Z"):
            raise UsageError(f"`-v {text}`: `{flag}` is not understood", hint="it takes `ro` and `rw`")
        read_only = flag == "ro" or (read_only and flag != "rw")
    if "/" not in source and source not in (".", ".."):
        from buildkit_py.store.containers import is_name

        if not is_name(source):
            raise UsageError(f"`-v {text}`: `{source}` is no name of a volume", hint=f"a path here is `./{source}`")
        return source, os.path.normpath(target), read_only
    path = os.path.normpath(os.path.join(cwd, os.path.expanduser(source)))
    if not os.path.exists(path):
        raise UsageError(f"`-v {text}`: there is no `{path}`")
    return path, os.path.normpath(target), read_only


def count(text: str, option: str) -> int:
    """A whole number of at least 1. Raises `UsageError`."""
    from buildkit_py.whole_number import whole_number

    try:
        return whole_number(text, 1)
    except ValueError:
        raise UsageError(f"`{option} {text}` is no number of at least 1") from None


def seconds(text: str, option: str) -> float:
    """A number of seconds, 0 or more. Raises `UsageError`."""
    whole, _, part = text.partition(".")
    if not text.isascii() or not whole.isdigit() or (part and not part.isdigit()) or text.endswith("."):
        raise UsageError(f"`{option} {text}` is no number of seconds")
    return float(text)


def byte_size(text: str, option: str, *, any: bool = False) -> int:
    """A size such as `20g`; with `any` one below a megabyte, too. Raises `UsageError`."""
    from buildkit_py import byte_size as sizes

    try:
        return sizes.byte_size(text, 0) if any else sizes.byte_size(text)
    except ValueError as problem:
        raise UsageError(f"`{option}`: {problem}") from problem


def size_limits(most: str, growth: str, against: str) -> SizeLimits:
    """The values of `--max-size=SIZE`, `--max-growth=SIZE|PERCENT%` and `--against=IMAGE`. Raises `UsageError`."""
    from buildkit_py.api import request

    if against and not growth:
        raise UsageError("`--against` says what `--max-growth` compares with, which is not given")
    percent = None
    if growth.endswith("%"):
        number = growth[:-1]
        whole, dot, fraction = number.partition(".")
        if not (whole + fraction).isascii() or not whole.isdigit() or (dot and not fraction.isdigit()):
            raise UsageError(f"`--max-growth {growth}` is no percentage", hint="write 5% or 0.5%")
        percent = float(number)
    return request.SizeLimits(
        most=byte_size(most, "--max-size", any=True) if most else None,
        growth=byte_size(growth, "--max-growth", any=True) if growth and percent is None else None,
        percent=percent,
        against=against,
    )


# Of the year 9999: a year in an image's config has four digits (RFC 3339).
_LAST_SECOND = 253_402_300_799


def epoch(text: str) -> int | None:
    """SOURCE_DATE_EPOCH: seconds since 1970, None for an empty one (reproducible-builds.org). Raises `UsageError`."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds")
    from buildkit_py.whole_number import whole_number

    try:
        return whole_number(text, most=_LAST_SECOND)
    except ValueError:
        raise UsageError(
            f"SOURCE_DATE_EPOCH is `{text}`, which is later than the year 9999", hint="it is in seconds"
        ) from None


def fields_of(text: str, option: str, known: tuple[str, ...]) -> dict[str, str]:
    """The fields of `name=value,…`, quoted as in CSV. Raises `UsageError` for one that is not known."""
    import _csv  # the C half of `csv`, which imports re

    fields: dict[str, str] = {}
    try:
        row = next(_csv.reader([text]), [])
    except _csv.Error as problem:
        raise UsageError(f"`{option} {text}` cannot be read: {problem}") from problem
    for field in row:
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        if name not in known or not equals:
            from buildkit_py.cli.options import near

            raise UsageError(f"`{option} {text}`: `{field}` is not understood", hint=near(name, known))
        fields[name] = value
    return fields
