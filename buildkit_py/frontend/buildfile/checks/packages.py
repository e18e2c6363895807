"""Our rules about package managers: what they leave in a layer, and what they find there later."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.checks.shell import commands_of, operands
from buildkit_py.frontend.buildfile.syntax import RunStep, Transfer
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.facts import Applied

_APT = ("apt-get", "apt")


class Manager(Record):
    """`installs` are (command, words that follow it: none means nothing at all); `caches` are directories of which a
    mount keeps the cache out of the layer; `flags` turn the cache off, `variables` do so or move it; `cleaning` is a
    part of a command that empties it.
    """

    name: str
    installs: tuple[tuple[str, tuple[str, ...]], ...]
    caches: tuple[str, ...]
    flags: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    cleaning: tuple[str, ...] = ()


def _any(commands: tuple[str, ...], *words: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((command, (word,)) for command in commands for word in words)


MANAGERS = (
    Manager("apt", _any(_APT, "install"), ("/var/cache/apt", "/var/lib/apt"), cleaning=("/var/lib/apt/lists",)),
    Manager(
        "apk", _any(("apk",), "add"), ("/var/cache/apk", "/etc/apk/cache"), ("--no-cache",), (), ("/var/cache/apk",)
    ),
    Manager(
        "dnf",
        _any(("dnf", "yum", "microdnf"), "install", "update", "upgrade"),
        ("/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"),
        cleaning=("clean all", "/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"),
    ),
    Manager("zypper", _any(("zypper",), "install", "in"), ("/var/cache/zypp",), cleaning=("clean", "/var/cache/zypp")),
    Manager(
        "pip",
        (*_any(("pip", "pip3"), "install"), ("python", ("pip", "install")), ("python3", ("pip", "install"))),
        (".cache/pip", "/root/.cache"),
        ("--no-cache-dir",),
        ("PIP_NO_CACHE_DIR",),
        ("cache purge", ".cache/pip"),
    ),
    Manager(
        "npm",
        _any(("npm",), "install", "ci", "i"),
        (".npm",),
        cleaning=("cache clean", ".npm"),
    ),
    Manager(
        "yarn",
        (("yarn", ()), *_any(("yarn",), "install", "add")),
        (".cache/yarn", "share/.cache", ".yarn", "/root/.cache"),
        variables=("YARN_CACHE_FOLDER",),
        cleaning=("cache clean", ".yarn", ".cache"),
    ),
    Manager(
        "pnpm",
        _any(("pnpm",), "install", "i", "add", "fetch"),
        ("pnpm/store", "/pnpm", ".pnpm-store"),
        cleaning=("store prune", "pnpm/store", ".pnpm-store"),
    ),
    Manager(
        "uv",
        (("uv", ("sync",)), ("uv", ("pip", "install"))),
        (".cache/uv", "/root/.cache"),
        ("--no-cache", "-n"),
        ("UV_NO_CACHE", "UV_CACHE_DIR"),
        ("cache clean", ".cache/uv"),
    ),
    Manager(
        "poetry",
        _any(("poetry",), "install", "add"),
        (".cache/pypoetry", "/root/.cache"),
        ("--no-cache",),
        ("POETRY_CACHE_DIR",),
        ("cache clear", ".cache/pypoetry"),
    ),
    Manager(
        "composer",
        _any(("composer",), "install", "require", "update"),
        (".composer", ".cache/composer", "/tmp/cache"),
        ("--no-cache",),
        ("COMPOSER_CACHE_DIR",),
        ("clear-cache", "clearcache", ".composer", ".cache/composer", "/tmp/cache"),
    ),
    Manager(
        "conda",
        _any(("conda", "mamba", "micromamba"), "install", "create"),
        ("conda/pkgs", "mamba/pkgs"),
        cleaning=(" clean ", "/pkgs"),
    ),
)

# Commands that install what files of the project list.
_DEPENDENCIES = (
    *((name, (word,)) for name in ("npm", "pnpm") for word in ("install", "ci", "i")),
    ("yarn", ()),
    ("yarn", ("install",)),
    ("bundle", ("install",)),
    ("composer", ("install",)),
    ("poetry", ("install",)),
    ("pipenv", ("install",)),
    ("uv", ("sync",)),
    ("go", ("mod", "download")),
    ("cargo", ("fetch",)),
    *MANAGERS[0].installs,
    *MANAGERS[1].installs,
    *MANAGERS[2].installs,
)


def apt_update_alone(subject: Subject) -> Iterator[Finding]:
    """`apt-get update` in a RUN that installs nothing: a later RUN installs from lists of any age."""
    for applied, node in _runs(subject):
        verbs = {words[1] for command in commands_of(node) if (words := operands(command))[0] in _APT and words[1:]}
        if "update" in verbs and not verbs & {"install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep"}:
            yield _finding(applied, "`apt-get update` is alone in its layer, which stays when the lists are old")


def package_cache_kept(subject: Subject) -> Iterator[Finding]:
    """A package manager that leaves what it downloaded in the layer."""
    for applied, node in _runs(subject):
        commands = commands_of(node)
        variables = dict(applied.before.env)
        for manager in MANAGERS:
            uses = [command for command in commands if _is_one_of(command, manager.installs)]
            if not uses or _is_mounted(node, manager.caches) or any(name in variables for name in manager.variables):
                continue
            if all(set(manager.flags) & set(command) for command in uses) and manager.flags:
                continue
            said = [" ".join(command) for command in commands]
            if not any(part in text for text in said for part in manager.cleaning):
                yield _finding(applied, f"what `{manager.name}` downloads stays in the layer")


def copy_before_install(subject: Subject) -> Iterator[Finding]:
    """The whole context copied before dependencies are installed, so that any change installs them again."""
    for steps in subject.by_stage().values():
        copied: Applied | None = None
        for applied in steps:
            node = applied.node
            if applied.trigger:
                continue
            if isinstance(node, Transfer) and not any(flag.name == "from" for flag in node.flags):
                if copied is None and any(word.text in (".", "./", "/") for word in node.sources):
                    copied = applied
            elif isinstance(node, RunStep) and copied is not None:
                command = next((one for one in commands_of(node) if _installs_dependencies(one)), None)
                if command is not None:
                    line = node.position.line
                    message = f"the whole context is copied before `{' '.join(command[:3])}` of line {line}"
                    yield _finding(copied, message)
                    break


def _runs(subject: Subject) -> Iterator[tuple[Applied, RunStep]]:
    for applied in subject.facts.applied:
        if isinstance(applied.node, RunStep):
            yield applied, applied.node


def _finding(applied: Applied, message: str) -> Finding:
    return Finding(applied.line_of, message, applied.line_of.position, width=len(applied.line_of.keyword))


def _is_one_of(command: list[str], known: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
    name, *rest = operands(command)
    return any(
        name == wanted and (tuple(rest[: len(words)]) == words if words else not rest) for wanted, words in known
    )


def _installs_dependencies(command: list[str]) -> bool:
    if _is_one_of(command, MANAGERS[4].installs):
        return any(word == "-r" or word.startswith("--requirement") for word in command)
    return _is_one_of(command, _DEPENDENCIES)


def _is_mounted(node: RunStep, caches: tuple[str, ...]) -> bool:
    for flag in node.flags:
        if flag.name == "mount" and flag.value:
            fields = dict(field.partition("=")[::2] for field in flag.value.split(","))
            target = fields.get("target") or fields.get("dst") or fields.get("destination") or ""
            if fields.get("type") in ("cache", "tmpfs") and any(part in target for part in caches):
                return True
    return False
