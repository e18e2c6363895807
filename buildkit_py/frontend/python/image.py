"""Image: an immutable value that stands for a filesystem and its config; each method gives a new one.

Nothing happens when a method is called, except that what was wanted, and on
which line, is remembered and checked. The meaning is the instruction's of the
same name (`frontend/assemble.py`).
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import run_options
from buildkit_py.frontend.buildfile.duration import parse_duration
from buildkit_py.frontend.ports import parse_ports
from buildkit_py.frontend.python import actions, session
from buildkit_py.frontend.python.expect import exact, expect, shown, strings
from buildkit_py.frontend.python.file import File
from buildkit_py.frontend.python.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from buildkit_py.frontend.python.policy import policy_of, read
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.template import Template, expect_text
from buildkit_py.frontend.python.text import Text
from buildkit_py.frontend.python.tree import Tree
from buildkit_py.image.config import Healthcheck
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, TypeAlias

    from buildkit_py.frontend.python.actions import AnyText, Change, Pairs, Start
    from buildkit_py.frontend.python.service import Service

    Words = str | Text | File | list[str] | tuple[str, ...]
    Values = Mapping[str, AnyText] | list[tuple[str, AnyText]]
    Thing: TypeAlias = "Tree | Image | File"
    Files: TypeAlias = "Thing | list[Thing] | tuple[Thing, ...]"
    AnyMount = CacheMount | SecretMount | SshMount | TmpfsMount | BindMount
    Mounts = AnyMount | list[AnyMount] | tuple[AnyMount, ...]

_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")
_MOUNTS = (CacheMount, SecretMount, SshMount, TmpfsMount, BindMount)


class Image:
    """`Image("debian:trixie")`: an image of a registry, or `oci-layout://DIR`, `docker-archive://FILE`."""

    __slots__ = ("action", "base", "position")

    action: Start | Change
    base: Image | None
    position: Position

    def __init__(self, reference: str | Text, *, platform: str = "") -> None:
        expect(reference, (str, Text), "an image's name")
        expect(platform, str, "`platform` of Image()")
        expect_text(reference, "an image's name")
        if isinstance(reference, str) and not reference.strip():
            raise BuildfileError("an image needs a name", at=here())
        _fill(self, None, actions.FromImage(reference, platform))

    @classmethod
    def from_buildfile(
        cls,
        path: str,
        *,
        target: str = "",
        args: Mapping[str, str | Text] | None = None,
        context: str = ".",
    ) -> Image:
        """A stage of a Dockerfile or Buildfile (`target`: the last one by default), built with `args`.

        Paths are relative to the Buildfile.py's directory, which is also the context by default.
        """
        expect(path, str, "`path` of Image.from_buildfile()")
        expect(target, str, "`target` of Image.from_buildfile()")
        expect(context, str, "`context` of Image.from_buildfile()")
        pairs = _pairs(args, {}, "`args` of Image.from_buildfile()")
        return _start(actions.FromBuildfile(session.resolve(path), target, pairs, session.resolve(context)))  # type: ignore[arg-type]

    # Filesystem

    def run(
        self,
        *command: Words,
        mounts: Mounts = (),
        network: str = "default",
        security: str = "sandbox",
        env: Mapping[str, str | Text] | None = None,
        user: str = "",
        inputs: list[str] | tuple[str, ...] = (),
        timeout: str = "",
        retry: int = 0,
        ttl: str = "",
        always: bool = False,
        cpus: float = 0,
        memory: str | int = "",
        pool: str = "",
        save_always: Mapping[str, str] | list[str] | tuple[str, ...] = (),
        services: Mapping[str, Service] | None = None,
    ) -> Image:
        """Run a command. One `str` goes to the image's shell; a list, or several `str`, is run as it stands.

        A `file()` is a script that says in its first line (`#!…`) what runs it.
        `mounts` are made by cache(), secret(), ssh(), tmpfs() and bind(). With
        `security` "insecure" it may do what whoever builds may do, if that is
        allowed (`--allow`). `env` and `user` are for this command only. Of the files copied from contexts it
        sees those that `inputs` match, where there are any. It is ended after
        `timeout` ("10m"), tried `retry` times more, run again when its result
        is older than `ttl` ("7d") or `always`, may use `cpus` processors and
        `memory` ("512m"), and runs beside at most n - 1 others of its `pool`
        ("name:n"). `save_always` are paths, with their places in the project,
        that are copied out even when it fails. `services` run beside it, and are reached by their names.
        """
        wanted = tuple(mounts) if isinstance(mounts, list | tuple) else (mounts,)
        for mount in wanted:
            expect(mount, _MOUNTS, "each of `mounts` of run()")
        if network not in _NETWORKS:
            raise BuildfileError(f"`network` of run() must be one of {', '.join(_NETWORKS)}", at=here())
        if security not in _SECURITY:
            raise BuildfileError(f"`security` of run() must be one of {', '.join(_SECURITY)}", at=here())
        expect(user, str, "`user` of run()")
        script = command[0] if len(command) == 1 and isinstance(command[0], File) else None
        words = (run_options.script_command(script.name),) if script is not None else command
        pairs = _pairs(env, {}, "`env` of run()")
        policy = policy_of(
            timeout=timeout,
            retry=retry,
            ttl=ttl,
            always=always,
            cpus=cpus,
            memory=memory,
            pool=pool,
            save_always=save_always,
        )
        seen = strings(inputs, "`inputs` of run()")
        for pattern in seen:
            read("inputs", lambda text: run_options.pattern(text, "/"), pattern or " ", "")
        line = _command(words, "run()")
        beside: tuple[tuple[str, Service], ...] = ()
        if services is not None:
            from buildkit_py.frontend.python.service import named

            beside = named(services)
        return self._then(
            actions.RunCommand(line, wanted, network, security, pairs, user, script, seen, policy, beside)
        )

    def copy(
        self,
        what: Files,
        dest: AnyText = "./",
        *,
        chown: AnyText = "",
        chmod: AnyText = "",
        exclude: list[str] | tuple[str, ...] = (),
        parents: bool = False,
        link: bool = False,
    ) -> Image:
        """Copy files of a context (`src["a", "b"]`) or of another image (`other["/usr/bin/x"]`), or a `file()`.

        A list copies all of its things in one step. Of a directory its contents are copied, as COPY does it.
        """
        return self._copy("COPY", what, dest, chown=chown, chmod=chmod, exclude=exclude, parents=parents, link=link)

    def add(
        self,
        what: Files,
        dest: AnyText = "./",
        *,
        chown: AnyText = "",
        chmod: AnyText = "",
        exclude: list[str] | tuple[str, ...] = (),
        link: bool = False,
        unpack: bool | None = None,
    ) -> Image:
        """As `copy`, but archives are unpacked into `dest`; those of `remote()` only with `unpack=True`."""
        expect(unpack, (bool, type(None)), "`unpack` of add()")
        return self._copy("ADD", what, dest, chown=chown, chmod=chmod, exclude=exclude, link=link, unpack=unpack)

    def _copy(
        self,
        keyword: str,
        what: Files,
        dest: AnyText,
        *,
        chown: AnyText,
        chmod: AnyText,
        exclude: Any,
        parents: bool = False,
        link: bool = False,
        unpack: bool | None = False,
    ) -> Image:
        name = f"{keyword.lower()}()"
        for field, value in (("dest", dest), ("chown", chown), ("chmod", chmod)):
            expect_text(value, f"`{field}` of {name}")
        for field, flag in (("parents", parents), ("link", link)):
            expect(flag, bool, f"`{field}` of {name}")
        trees, files = _copied(what, name)
        patterns = strings(exclude, f"`exclude` of {name}")
        return self._then(actions.CopyFiles(keyword, trees, files, dest, chown, chmod, patterns, parents, link, unpack))

    def write(self, path: str, text: str | bytes | AnyText, *, mode: int = 0o644, chown: str = "") -> Image:
        """Write a file with this text, replacing what was there."""
        expect(path, str, "`path` of write()")
        if not isinstance(text, Template):
            expect(text, (str, bytes, Text), "`text` of write()")
        expect(mode, int, "`mode` of write()")
        expect(chown, str, "`chown` of write()")
        if path.rpartition("/")[2] in ("", ".", "..") or "\0" in path:
            raise BuildfileError(f"write() needs the name of a file, got {path!r}", at=here())
        return self._then(actions.WriteFile(path, text, f"{mode:04o}", chown))

    def workdir(self, path: AnyText) -> Image:
        """The directory of later commands and relative paths; made if it is missing."""
        expect_text(path, "`path` of workdir()")
        return self._then(actions.SetWorkdir(path))

    def output(self, source: str, dest: str = "") -> Image:
        """Files that land on the host, in `dest` below the project, when a target with this image is asked for."""
        expect(source, str, "`source` of output()")
        expect(dest, str, "`dest` of output()")
        parts = dest.split("/")
        if dest.startswith("/") or ".." in parts:
            raise BuildfileError(f"output() writes below the project, not to `{dest}`", at=here())
        return self._then(actions.AddOutput(source, dest))

    # Config

    def env(self, values: Values | None = None, /, **named: AnyText) -> Image:
        """Set variables: `env(A="1")`, or `env({"A": "1"})`."""
        return self._then(actions.SetEnv(_pairs(values, named, "env()")))

    def arg(self, values: Values | None = None, /, **named: AnyText | None) -> Image:
        """Set variables of later commands that the image does not keep; None only declares the name."""
        pairs = _pairs(values, named, "arg()", allow_none=True)
        return self._then(actions.DeclareArgs(pairs))  # type: ignore[arg-type]

    def label(self, values: Values | None = None, /, **named: AnyText) -> Image:
        """Set labels: `label({"org.example.team": "web"})`."""
        return self._then(actions.SetLabels(_pairs(values, named, "label()")))

    def user(self, name: AnyText) -> Image:
        """Who runs later commands: `name[:group]` or numbers."""
        expect_text(name, "`name` of user()")
        return self._then(actions.SetUser(name))

    def expose(self, *ports: int | str | Template) -> Image:
        """Ports the image listens on: `8000`, `"53/udp"`, `"8000-8010"`."""
        found: list[str | Template] = []
        for port in ports:
            if isinstance(port, Template):
                found.append(port)
                continue
            expect(port, (int, str), "each port of expose()")
            try:
                found.extend(parse_ports(str(port)))
            except ValueError as problem:
                raise BuildfileError(str(problem), at=here()) from problem
        return self._then(actions.Expose(tuple(found)))

    def volume(self, *paths: AnyText) -> Image:
        """Directories that hold data."""
        for path in paths:
            expect_text(path, "each path of volume()")
        return self._then(actions.Volume(paths))

    def cmd(self, *command: Words) -> Image:
        """What a container runs by default; the forms of `run`."""
        return self._then(actions.SetCmd(_command(command, "cmd()")))

    def entrypoint(self, *command: Words) -> Image:
        """What a container runs before its cmd; the forms of `run`. `entrypoint([])` takes it away."""
        return self._then(actions.SetEntrypoint(_command(command, "entrypoint()")))

    def shell(self, *argv: str) -> Image:
        """What runs the shell form of later commands: `shell("/bin/bash", "-c")`."""
        words = strings(argv, "shell()")
        if not words:
            raise BuildfileError("shell() needs at least one word", at=here())
        for word in words:
            expect_text(word, "a word of shell()")
        return self._then(actions.SetShell(words))

    def healthcheck(
        self,
        *command: Words | None,
        interval: str = "0s",
        timeout: str = "0s",
        start_period: str = "0s",
        start_interval: str = "0s",
        retries: int = 0,
    ) -> Image:
        """How to see that a container is well; times as `30s`, `1m30s`. `healthcheck(None)` switches it off."""
        expect(retries, int, "`retries` of healthcheck()")
        times = Healthcheck(
            (),
            _duration(interval, "interval"),
            _duration(timeout, "timeout"),
            _duration(start_period, "start_period"),
            _duration(start_interval, "start_interval"),
            retries,
        )
        line = None if len(command) == 1 and command[0] is None else _command(command, "healthcheck()")
        return self._then(actions.SetHealthcheck(line, times))

    def stop_signal(self, signal: AnyText) -> Image:
        """What asks a container to end: `SIGINT`."""
        expect_text(signal, "`signal` of stop_signal()")
        return self._then(actions.SetStopSignal(signal))

    def on_build(self, instruction: str) -> Image:
        """An instruction, as a Buildfile has it, for the images that will be built from this one."""
        expect(instruction, str, "`instruction` of on_build()")
        from buildkit_py.frontend.python.triggers import expect_trigger

        expect_trigger(instruction)
        return self._then(actions.AddTrigger(instruction))

    def maintainer(self, name: str) -> Image:
        """Who takes care of the image."""
        expect(name, str, "`name` of maintainer()")
        return self._then(actions.SetMaintainer(name))

    # Reading

    @property
    def stdout(self) -> Text:
        """What the last command wrote to standard output. Raises `BuildfileError` unless that was a `run`."""
        image = self.base if isinstance(self.action, actions.NewStage) else self
        if image is None or not isinstance(image.action, actions.RunCommand):
            raise BuildfileError("only the image that run() gave has a stdout", at=here())
        return Text((image,))

    def as_stage(self) -> Image:
        """This image as what a stage starts from: CMD, ARG and triggers are those of another stage from now on."""
        return self._then(actions.NewStage())

    def __getitem__(self, paths: str | Template | tuple[str | Template, ...]) -> Tree:
        return Tree(self)[paths]

    def __iter__(self) -> NoReturn:
        raise BuildfileError("an image cannot be looped over", at=here())

    def __setattr__(self, name: str, value: object) -> None:
        raise BuildfileError(
            f"an image is immutable, `{name}` cannot be set",
            at=here(),
            hint="its methods give a new image: img = img.env(…)",
        )

    def __repr__(self) -> str:
        return f"<Image of {self.position}>"

    def _then(self, action: Change) -> Image:
        image = Image.__new__(Image)
        _fill(image, self, action)
        return image


def scratch() -> Image:
    """An empty filesystem."""
    return _start(actions.FromScratch())


def host() -> Image:
    """This machine's own root filesystem, read-only beneath what the steps write. It cannot become an image."""
    return _start(actions.FromHost())


def _start(action: Start) -> Image:
    image = Image.__new__(Image)
    _fill(image, None, action)
    return image


def _fill(image: Image, base: Image | None, action: Start | Change) -> None:
    action = exact(action)
    for name, value in (("base", base), ("action", action), ("position", here())):
        object.__setattr__(image, name, value)


def _command(words: tuple[Any, ...], what: str) -> actions.CommandLine:
    if len(words) == 1 and isinstance(words[0], str | Text):
        expect_text(words[0], f"the command of {what}")
        return actions.CommandLine(words, shell=True)
    if len(words) == 1 and isinstance(words[0], list | tuple):
        words = tuple(words[0])
        if not words and what != "run()":
            return actions.CommandLine((), shell=False)
    if not words:
        raise BuildfileError(f"{what} needs a command", at=here())
    for word in words:
        if not isinstance(word, str | Text):
            raise BuildfileError(f"the words of {what} must be str, got {shown(word)}", at=here())
        expect_text(word, f"a word of {what}")
    return actions.CommandLine(words, shell=False)


def _copied(what: Any, name: str) -> tuple[tuple[Tree, ...], tuple[File, ...]]:
    """The trees and the files of what is to be copied: one thing, or a list of them."""
    things = tuple(what) if isinstance(what, list | tuple) else (what,)
    trees: list[Tree] = []
    files: list[File] = []
    for thing in things:
        expect(thing, (Tree, Image, File), f"the first argument of {name}")
        if isinstance(thing, File):
            files.append(thing)
        else:
            trees.append(thing if isinstance(thing, Tree) else Tree(thing))
    if not things:
        raise BuildfileError(f"{name} is given nothing to copy", at=here(), hint='a tree has paths: src["a", "b"]')
    return tuple(trees), tuple(files)


def _pairs(values: Any, named: dict[str, Any], what: str, *, allow_none: bool = False) -> Pairs:
    if values is None:
        values = {}
    items = tuple(values.items() if hasattr(values, "items") else values if isinstance(values, list) else (values,))
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in items):
        raise BuildfileError(f"{what} takes a dict of str, got {shown(values)}", at=here())
    pairs: list[tuple[str | Template, Any]] = []
    for name, value in (*items, *named.items()):
        if not isinstance(name, str | Template) or not name:
            raise BuildfileError(f"the names of {what} must be str, got {shown(name)}", at=here())
        called = f"`{name if isinstance(name, str) else name.text}` of {what}"
        if not isinstance(value, str | Text | Template) and not (value is None and allow_none):
            raise BuildfileError(f"{called} must be str, got {shown(value)}", at=here())
        for text in (name, value):
            if isinstance(text, str):
                expect_text(text, called)
        pairs.append((name, value))
    return tuple(pairs)


def _duration(text: str, name: str) -> int:
    expect(text, str, f"`{name}` of healthcheck()")
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise BuildfileError(
            f"`{name}` of healthcheck(): {problem}", at=here(), hint="write it as 30s, 1m30s"
        ) from problem
