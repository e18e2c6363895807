"""The files of a project: which there are, and the one document that they make together.

As docker compose has it: `compose.yaml` here or in a directory above with its `compose.override.yaml`, or those that
are named; their variables come from the environment and from `.env` in the project's directory.
"""

from __future__ import annotations

import os

from buildkit_py.errors import ComposeError, ContextError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.document import Value, documents
from buildkit_py.frontend.compose.dotenv import read_variables
from buildkit_py.frontend.compose.merge import merged, settled
from buildkit_py.frontend.compose.variables import expand
from buildkit_py.record import Record
from buildkit_py.source_map import Position
from buildkit_py.whole_file import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_SECTIONS = ("services", "networks", "volumes", "secrets", "configs")
_SEPARATOR = ":"


class Remark(Record):
    """What is said of a file that is no error."""

    message: str
    at: Position
    hint: str = ""


class _Services:
    """The services of a file: as they stand, and those that were asked for with all that they extend."""

    def __init__(self, path: str, found: dict[str, Value]) -> None:
        self.path = path
        self.found = found
        self.extended: dict[str, Value] = {}


class Files:
    """Reads files of one project. `read` are the absolute paths of all that were read or looked for."""

    def __init__(self, cwd: str) -> None:
        self._cwd = cwd
        # By file: the directory that paths in it are relative to, and its variables.
        self._bases: dict[str, str] = {}
        self._envs: dict[str, Mapping[str, str]] = {}
        self._parsed: dict[str, list[Value]] = {}
        self.remarks: list[Remark] = []
        self.read: list[str] = []
        self._unset: set[str] = set()

    def load(self, paths: Sequence[str], directory: str, env: Mapping[str, str]) -> Value:
        """The document that some files make together, with what they include. Raises `ComposeError`, `ContextError`."""
        return settled(self._load(paths, directory, env, ()))

    def _load(self, paths: Sequence[str], directory: str, env: Mapping[str, str], including: tuple[str, ...]) -> Value:
        whole: Value | None = None
        for path in paths:
            if path in including:
                chain = " includes ".join(self.name(one) for one in (*including, path))
                raise ComposeError(f"files include each other: {chain}", at=self.name(including[-1]))
            own: Value | None = None
            for document in self._documents(path, directory, env):
                extended = self._with_extended(document, path, env)
                own = extended if own is None else merged(own, extended)
            if own is None:
                continue
            # What it includes is no other than its own to the files behind it, which may override both.
            own = self._with_included(own, directory, env, (*including, *paths))
            whole = own if whole is None else merged(whole, own)
        if whole is None:
            raise ComposeError("there is nothing in this file", at=self.name(paths[-1]))
        return whole

    def name(self, path: str) -> str:
        """What a file is called for people."""
        relative = os.path.relpath(path, self._cwd)
        return relative if len(relative) < len(path) else path

    def base(self, value: Value) -> str:
        """The directory that a path in a value is relative to."""
        return self._bases.get(value.at.file, self._cwd)

    def env(self, value: Value) -> Mapping[str, str]:
        """The variables that a name without a value takes its own from."""
        return self._envs.get(value.at.file, {})

    def project_name(self, paths: Sequence[str], env: Mapping[str, str]) -> Value | None:
        """The `name` of a project that its files give it, the last one of several; None where none does."""
        found = None
        for path in paths:
            for document in self._read(path):
                if isinstance(document.data, dict) and "name" in document.data:
                    found = self._expanded(document.data["name"], env)
        return found if found is not None and found.data is not None else None

    def variables(self, path: str, env: Mapping[str, str]) -> dict[str, str]:
        """The variables of a `.env`, none where there is no such file. Raises `ComposeError`, `ContextError`."""
        self.read.append(path)
        try:
            return read_variables(path, self.name(path), env)
        except (FileNotFoundError, IsADirectoryError):
            return {}
        except OSError as problem:
            raise ContextError(f"`{self.name(path)}` could not be read: {problem.strerror}") from problem

    def _documents(self, path: str, directory: str, env: Mapping[str, str], at: Position | None = None) -> list[Value]:
        name = self.name(path)
        self._bases.setdefault(name, directory)
        self._envs.setdefault(name, env)
        found = [self._expanded(document, env) for document in self._read(path, at)]
        for one in found:
            if not isinstance(one.data, dict):
                raise ComposeError(f"a compose file is a mapping, and this is {one.kind}", at=one.at)
        return found

    def _read(self, path: str, at: Position | None = None) -> list[Value]:
        """The documents of a file as they stand."""
        if path not in self._parsed:
            name = self.name(path)
            self.read.append(path)
            try:
                source = read_whole(path)
            except OSError as problem:
                said = "there is no file" if isinstance(problem, FileNotFoundError) else f"{problem.strerror}:"
                raise ContextError(f"{said} `{name}`", at=at) from problem
            self._parsed[path] = documents(source, name)
        return self._parsed[path]

    def _expanded(self, value: Value, env: Mapping[str, str]) -> Value:
        if isinstance(value.data, dict):
            return value.replace(data={key: self._expanded(one, env) for key, one in value.data.items()})
        if isinstance(value.data, tuple):
            return value.replace(data=tuple([self._expanded(one, env) for one in value.data]))
        if not isinstance(value.data, str) or "$" not in value.data:
            return value

        def unset(name: str) -> None:
            if name not in self._unset:
                self._unset.add(name)
                self.remarks.append(
                    Remark(f"the variable `{name}` is not set, and stands for nothing", value.at, "set it in `.env`")
                )

        try:
            text = expand(value.data, env, unset)
        except ValueError as problem:
            wanted = "has to be set" in str(problem)
            hint = "set it in the environment or in `.env`" if wanted else "a dollar sign itself is `$$`"
            raise ComposeError(str(problem), at=value.at, hint=hint) from None
        return value.replace(data=text, text=text)

    # -- extends

    def _with_extended(self, document: Value, path: str, env: Mapping[str, str]) -> Value:
        services = document.data.get("services")
        if services is None or not isinstance(services.data, dict):
            return document
        own = _Services(path, services.data)
        others: dict[str, _Services] = {}
        data = {name: self._extended(name, own, others, env) for name in services.data}
        return document.replace(data={**document.data, "services": services.replace(data=data)})

    def _extended(self, name: str, where: _Services, others: dict[str, _Services], env: Mapping[str, str]) -> Value:
        """A service with all that it extends; `others` are the files that were looked into, by their paths."""
        # A loop, and none is worked out twice: a row of them may be longer than Python's stack.
        row: list[tuple[_Services, str, Value, bool]] = []
        seen: dict[tuple[str, str], None] = {}
        while name not in where.extended:
            service = where.found[name]
            if not isinstance(service.data, dict) or "extends" not in service.data:
                where.extended[name] = service
                break
            wanted = service.data["extends"]
            own = service.replace(data={key: one for key, one in service.data.items() if key != "extends"})
            here = (where.path, name)
            if here in seen:
                chain = list(seen)
                said = " extends ".join(f"`{one}`" for _, one in (*chain[chain.index(here) :], here))
                raise ComposeError(f"services extend each other: {said}", at=wanted.place)
            seen[here] = None
            base_name, file = _extends(wanted)
            there = where if file is None else self._services_of(file, others, env)
            if base_name.data not in there.found:
                place = f" in `{self.name(there.path)}`" if file is not None else ""
                raise ComposeError(
                    f"`{name}` extends `{base_name.data}`, and there is no such service{place}",
                    at=base_name.at,
                    hint=did_you_mean(base_name.data, there.found),
                )
            row.append((where, name, own, file is not None))
            where, name = there, base_name.data
        service = where.extended[name]
        for where, name, own, elsewhere in reversed(row):
            base = _with_context(service) if elsewhere else service
            service = where.extended[name] = merged(base, own, ("services", name))
        return service

    def _services_of(self, file: Value, others: dict[str, _Services], env: Mapping[str, str]) -> _Services:
        """Those of a file that `extends` names."""
        path = os.path.normpath(os.path.join(self.base(file), os.path.expanduser(file.data)))
        if path not in others:
            found: dict[str, Value] = {}
            for one in self._documents(path, os.path.dirname(path), env, file.at):
                there = one.data.get("services")
                found |= there.data if there is not None and isinstance(there.data, dict) else {}
            others[path] = _Services(path, found)
        return others[path]

    # -- include

    def _with_included(
        self, document: Value, directory: str, env: Mapping[str, str], including: tuple[str, ...]
    ) -> Value:
        wanted = document.data.get("include")
        data = {key: value for key, value in document.data.items() if key != "include"}
        if wanted is None or wanted.data is None:
            return document.replace(data=data)
        if not isinstance(wanted.data, tuple):
            raise ComposeError(f"`include` wants a list, and this is {wanted.kind}", at=wanted.at)
        for one in wanted.data:
            paths, place, env_files = self._include(one)
            inner = dict(env)
            for file in env_files or [os.path.join(place, ".env")]:
                if env_files and not os.path.isfile(file):
                    self.read.append(file)
                    raise ContextError(f"there is no file `{self.name(file)}`", at=one.at)
                inner = {**self.variables(file, env), **inner}
            included = self._load(paths, place, inner, including)
            for section in _SECTIONS:
                new = included.data.get(section)
                if new is None or not isinstance(new.data, dict):
                    continue
                have = data.get(section)
                known = have.data if have is not None and isinstance(have.data, dict) else {}
                for name, value in new.data.items():
                    if name in known and known[name] != value:
                        raise ComposeError(
                            f"`{section}.{name}` is in a file that is included here, too",
                            at=known[name].place,
                            notes=(f"the other one is at {value.place}",),
                        )
                data[section] = (have or new).replace(data={**known, **new.data})
        return document.replace(data=data)

    def _include(self, value: Value) -> tuple[list[str], str, list[str]]:
        """The files, the directory and the files with variables of an item of `include`."""
        fields = {"path": value} if isinstance(value.data, str) else value.data
        if not isinstance(fields, dict) or "path" not in fields:
            raise ComposeError("what is included is a path, or a mapping with `path`", at=value.at)
        for key, field in fields.items():
            if key not in ("path", "project_directory", "env_file") and not key.startswith("x-"):
                raise ComposeError(
                    f"`{key}` is no key of `include`",
                    at=field.place,
                    hint=did_you_mean(key, ("path", "project_directory", "env_file")),
                )

        def paths(key: str) -> list[str]:
            field = fields.get(key)
            if field is None:
                return []
            several = field.data if isinstance(field.data, tuple) else (field,)
            for one in several:
                if not isinstance(one.data, str):
                    raise ComposeError(f"`{key}` is a path, and this is {one.kind}", at=one.at)
            return [os.path.normpath(os.path.join(self.base(value), os.path.expanduser(one.data))) for one in several]

        found = paths("path")
        for path in found:
            if not os.path.isfile(path):
                raise ContextError(f"there is no file `{self.name(path)}`", at=value.at)
        given = paths("project_directory")
        return found, given[0] if given else os.path.dirname(found[0]), paths("env_file")


def find(cwd: str) -> tuple[str, ...]:
    """The compose file of a directory or one above it, with its override file. Raises `ContextError`."""
    directory = cwd
    while True:
        for name in NAMES:
            if os.path.isfile(os.path.join(directory, name)):
                over = [os.path.join(directory, one) for one in _OVERRIDES]
                return (os.path.join(directory, name), *[one for one in over if os.path.isfile(one)][:1])
        above = os.path.dirname(directory)
        if above == directory:
            raise ContextError(
                "there is no compose file here, nor in a directory above",
                hint="it is called compose.yaml; `-f FILE` names another one",
            )
        directory = above


def chosen(given: Sequence[str], cwd: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The absolute paths of a project's files: those given, those of COMPOSE_FILE, or what is found."""
    if not given and env.get("COMPOSE_FILE"):
        given = env["COMPOSE_FILE"].split(env.get("COMPOSE_PATH_SEPARATOR") or _SEPARATOR)
    if not given:
        return find(cwd)
    return tuple([os.path.normpath(os.path.join(cwd, os.path.expanduser(one))) for one in given])


def _with_context(service: Value) -> Value:
    """A service of another file whose build says its context, which is that file's directory where nothing is said."""
    build = service.data.get("build") if isinstance(service.data, dict) else None
    if build is None or not isinstance(build.data, dict) or "context" in build.data:
        return service
    context = build.replace(data=".", text=".", key=None, tag="")
    return service.replace(data={**service.data, "build": build.replace(data={**build.data, "context": context})})


def _extends(value: Value) -> tuple[Value, Value | None]:
    """The name of the service that is extended, and the file that it is in."""
    if isinstance(value.data, str):
        return value, None
    if not isinstance(value.data, dict) or "service" not in value.data:
        raise ComposeError("`extends` is the name of a service, or a mapping with `service`", at=value.at)
    for key, field in value.data.items():
        if key.startswith("x-"):
            continue
        if key not in ("service", "file"):
            raise ComposeError(
                f"`{key}` is no key of `extends`", at=field.place, hint=did_you_mean(key, ("service", "file"))
            )
        if not isinstance(field.data, str):
            raise ComposeError(f"`{key}` wants a string, and this is {field.kind}", at=field.at)
    return value.data["service"], value.data.get("file")
