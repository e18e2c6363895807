"""Instructions as calls of an image's methods: the method's name and the code of its arguments."""

from __future__ import annotations

import posixpath

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import run_options
from buildkit_py.frontend.buildfile import own_words, syntax
from buildkit_py.frontend.buildfile.heredoc import file_name
from buildkit_py.frontend.buildfile.lower_run import is_lone_heredoc
from buildkit_py.frontend.buildfile.run_mount import TEXTS, mount_values, parse_mount
from buildkit_py.frontend.convert.code import identifier, literal, mapping
from buildkit_py.frontend.git_url import parse_git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from buildkit_py.frontend.buildfile.syntax import Command, Flag, Instruction, Pair, Word
    from buildkit_py.frontend.convert.arguments import Arguments
    from buildkit_py.frontend.convert.words import Words
    from buildkit_py.source_map import Position

    Call: TypeAlias = tuple[str, list[str]]

# Stands before a value of a mount that is to be expanded, while `parse_mount` looks at the others.
_LATER = "\0"
_REMOTE = ("http://", "https://", "git@", "git://", "ssh://")


class Calls:
    """The instructions of one stage. `source` gives the code of what `--from=NAME` means, "" being the context;

    `constant(name, text)` puts a text of several lines above the function and gives its name.
    """

    def __init__(
        self,
        words: Words,
        arguments: Arguments,
        source: Callable[[str, Position], str],
        constant: Callable[[str, str], str],
    ) -> None:
        self.words = words
        self.arguments = arguments
        self.source = source
        self.constant = constant

    def of(self, node: Instruction) -> Call:
        """The call. Raises `BuildfileError` for what a Buildfile.py has no words for, or what no build would take."""
        word = self.words.code
        match node:
            case syntax.RunStep():
                return "run", self._run(node)
            case syntax.Transfer():
                return node.keyword.lower(), self._transfer(node)
            case syntax.Env() | syntax.Label():
                return node.keyword.lower(), self._pairs(node.pairs)
            case syntax.Arg():
                values = [(pair.key, self.arguments.value(pair)) for pair in node.pairs]
                return "arg", _named([(literal(name), value) for name, value in values])
            case syntax.Workdir():
                return "workdir", [word(node.path.text, node.path.position)]
            case syntax.User():
                return "user", [word(node.user.text, node.user.position)]
            case syntax.Expose():
                found = sorted(node.ports, key=lambda port: port.text)
                ports = [code for port in found for code in self.words.ports(port.text, port.position)]
                return "expose", [code[1:-1] if _is_number(code[1:-1]) else code for code in ports]
            case syntax.Volume():
                return "volume", [word(path.text, path.position) for path in node.paths]
            case syntax.Cmd() | syntax.Entrypoint():
                return node.keyword.lower(), self._command(node.command)
            case syntax.Shell():
                return "shell", [literal(text) for text in node.argv]
            case syntax.StopSignal():
                return "stop_signal", [word(node.signal.text, node.signal.position)]
            case syntax.HealthcheckStep():
                return "healthcheck", self._healthcheck(node)
            case syntax.OnBuild():
                return "on_build", [self._text("on_build", node.text)]
            case syntax.Maintainer():
                return "maintainer", [literal(node.author)]
            case own_words.Output():
                words = [node.path, node.dest] if node.dest is not None else [node.path]
                return "output", [literal(self.settled(text, "OUTPUT")) for text in words]
        raise no_words(node.keyword, node.position)

    def settled(self, text: Word, keyword: str) -> str:
        """A word that has to be known while a Buildfile.py runs."""
        fixed = self.words.fixed(text.text, text.position)
        if fixed is None:
            raise no_words(f"a variable in {keyword}", text.position)
        return fixed

    def _text(self, name: str, text: str) -> str:
        return self.constant(name, text) if "\n" in text else literal(text)

    def _command(self, command: Command) -> list[str]:
        if command.argv is None:
            return [literal(command.shell or "")]
        words = [literal(word) for word in command.argv]
        return words if len(words) > 1 else ["[" + ", ".join(words) + "]"]

    def _healthcheck(self, node: syntax.HealthcheckStep) -> list[str]:
        if node.command is None:
            return ["None"]
        out = self._command(node.command)
        for flag in node.flags:
            if flag.value:
                value = str(int(flag.value)) if flag.name == "retries" else literal(flag.value)
                out.append(f"{flag.name.replace('-', '_')}={value}")
        return out

    def _pairs(self, pairs: Iterable[Pair]) -> list[str]:
        code = self.words.code
        return _named([(code(pair.key, pair.position), code(pair.value or "", pair.position)) for pair in pairs])

    # RUN

    def _run(self, node: syntax.RunStep) -> list[str]:
        out = self._run_command(node)
        mounts: list[str] = []
        seen: list[str] = []
        saved: list[tuple[str, str]] = []
        for flag in node.flags:
            match flag.name:
                case "mount":
                    mounts.append(self._mount(flag))
                case "network":
                    if flag.value != "default":
                        out.append(f"network={literal(flag.value or '')}")
                case "security" if flag.value == "insecure":
                    out.append('security="insecure"')
                case "security":
                    pass
                case "timeout" | "ttl" | "memory" | "pool":
                    out.append(f"{flag.name}={literal(self._known(flag))}")
                case "retry":
                    out.append(f"retry={_read(run_options.retries, self._known(flag), flag.position)}")
                case "cpus":
                    share = _read(run_options.processors, self._known(flag), flag.position)
                    out.append(f"cpus={share / 1000 if share % 1000 else share // 1000}")
                case "always":
                    out += ["always=True"] * is_on(flag)
                case "inputs":
                    seen.append(literal(self._known(flag)))
                case "save-always":
                    source, _, dest = self._known(flag).partition(":")
                    saved.append((literal(source), literal(dest)))
                case _:
                    raise no_words(f"RUN --{flag.name}", flag.position)
        if seen:
            out.append(f"inputs=[{', '.join(seen)}]")
        if saved:
            out.append(f"save_always={mapping(saved)}")
        if mounts:
            out.append(f"mounts=[{', '.join(mounts)}]")
        return out

    def _known(self, flag: Flag) -> str:
        """The value of a flag that has to be known while a Buildfile.py runs."""
        fixed = self.words.fixed(flag.value or "", flag.position)
        if fixed is None:
            raise no_words(f"a variable in RUN --{flag.name}", flag.position)
        return fixed

    def _run_command(self, node: syntax.RunStep) -> list[str]:
        text, documents = node.command.shell or "", node.heredocs
        if node.command.argv == ():
            raise BuildfileError("RUN has no command", at=node.position)
        if node.command.argv is not None or not documents:
            return self._command(node.command)
        if len(documents) == 1 and is_lone_heredoc(text):
            (document,) = documents
            body = self._text(document.name, document.body)
            if document.body.startswith("#!"):
                return [self._file(document, body)]
            return [body]
        whole = text + "".join([f"\n{document.written}{document.name}" for document in documents])
        return [self._text(documents[0].name, whole)]

    def _mount(self, flag: Flag) -> str:
        at = flag.position

        def later(value: str) -> str:
            fixed = self.words.fixed(value, at)
            return _LATER + value if fixed is None else fixed

        for key, value in mount_values(flag.value or "", at):
            if key not in TEXTS and self.words.fixed(value, at) is None:
                raise no_words(f"a variable in `{key}` of RUN --mount", at)
        spec = parse_mount(flag.value or "", later, at)
        target = self._field(spec.target)
        place = self._field(spec.target or ".")
        out: list[tuple[str, str]] = []
        match spec.kind:
            case "bind":
                out = [("", self._tree(spec.origin, spec.source, at)), ("", place)]
                out += [("read_only", "False")] * (not spec.read_only)
            case "cache":
                out = [("", place), ("id", self._cache_id(spec.id, spec.target))]
                out += [("sharing", literal(spec.sharing))] * (spec.sharing not in ("", "shared"))
                out += [("mode", f"0o{spec.mode:o}")] * (spec.mode >= 0)
                out += [("uid", str(spec.uid))] * (spec.uid > 0) + [("gid", str(spec.gid))] * (spec.gid > 0)
                out += [("read_only", "True")] * spec.read_only
                if spec.origin:
                    out.append(("source", self._tree(spec.origin, spec.source, at)))
                if spec.keys:
                    keys = [self._field(key) for key in spec.keys]
                    out.append(("key", keys[0] if len(keys) == 1 else f"[{', '.join(keys)}]"))
            case "tmpfs":
                out = [("", place)] + [("size", str(spec.size))] * bool(spec.size)
            case "secret":
                name = spec.source or spec.id or spec.target.rstrip("/").rpartition("/")[2]
                out = [("", self._field(name))] + [("target", target)] * bool(spec.target)
                out += [("env", self._field(spec.env))] * bool(spec.env)
                out += [("required", "False")] * (not spec.required)
                out += [("mode", f"0o{spec.mode:o}")] * (spec.mode >= 0)
                out += [("uid", str(spec.uid))] * (spec.uid > 0) + [("gid", str(spec.gid))] * (spec.gid > 0)
            case "ssh":
                out = [("", self._field(spec.id))] * (spec.id not in ("", "default"))
                out += [("target", target)] * bool(spec.target)
                out += [("required", "False")] * (not spec.required)
                out += [("mode", f"0o{spec.mode:o}")] * (spec.mode >= 0)
                out += [("uid", str(spec.uid))] * (spec.uid > 0) + [("gid", str(spec.gid))] * (spec.gid > 0)
            case _:
                raise no_words(f"RUN --mount=type={spec.kind}", at)
        self.words.uses(spec.kind)
        return f"{spec.kind}({', '.join([f'{name}={code}' if name else code for name, code in out if code])})"

    def _cache_id(self, name: str, target: str) -> str:
        """The id as code, "" where it is the target; a cache at a relative target is not named by where it lands."""
        if name or target.startswith(("/", _LATER + "/")):
            return self._field(name) if name else ""
        return self._field(target) if target.startswith(_LATER) else literal(posixpath.normpath(target or "."))

    def _field(self, value: str) -> str:
        return self.words.unexpanded(value[1:]) if value.startswith(_LATER) else literal(value)

    def _tree(self, origin: str, path: str, at: Position) -> str:
        source = self.source(origin, at)
        return f"{source}[{self._field(path)}]" if path else source

    # COPY and ADD

    def _transfer(self, node: syntax.Transfer) -> list[str]:
        flags = {flag.name: flag for flag in node.flags if flag.name != "exclude"}
        things, remote = self._things(node, flags)
        for document in node.heredocs:
            body = self._text(document.name, document.body)
            if document.expand and ("$" in document.body or "\\" in document.body):
                self.words.uses("expand")
                body = f"expand({body}, raw=True)"
            things.append(self._file(document, body))
        out = [things[0] if len(things) == 1 else f"[{', '.join(things)}]"]
        out.append(self.words.code(node.dest.text, node.dest.position))
        for name, flag in flags.items():
            match name:
                case "from":
                    pass
                case "checksum" if remote and len(node.sources) == 1:
                    pass
                case "keep-git-dir" if remote:
                    pass
                case "chown" | "chmod":
                    out.append(f"{name}={self.words.code(flag.value or '', flag.position)}")
                case "parents" | "link":
                    out += [f"{name}=True"] * is_on(flag)
                case "unpack":
                    out += [f"unpack={is_on(flag)}"] * (remote or not is_on(flag))
                case _:
                    raise no_words(f"{node.keyword} --{name}", flag.position)
        exclude = [literal(flag.value or "") for flag in node.flags if flag.name == "exclude"]
        return out + [f"exclude=[{', '.join(exclude)}]"] * bool(exclude)

    def _file(self, document: syntax.Heredoc, body: str) -> str:
        """The code for the file that a heredoc becomes."""
        self.words.uses("file")
        return f"file({literal(file_name(document.name, document.position))}, {body})"

    def _things(self, node: syntax.Transfer, flags: dict[str, Flag]) -> tuple[list[str], bool]:
        """The code for what is copied, but for heredocs, in its order; and whether any of it is from elsewhere."""
        things: list[str] = []
        paths: list[str] = []
        remote = False

        def local() -> None:
            if paths:
                origin = flags.get("from")
                name, place = (origin.value or "", origin.position) if origin is not None else ("", node.position)
                tree = self.source(name, place)
                # All that there is, which is what a tree is that nothing narrows.
                things.append(tree if paths == ['"/"'] else f"{tree}[{', '.join(paths)}]")
                paths.clear()

        for source in node.sources:
            if node.heredocs and source.text.lstrip("0123456789").startswith("<<"):
                continue
            fixed = self.words.fixed(source.text, source.position)
            if (source.text if fixed is None else fixed).startswith(_REMOTE):
                if node.keyword.upper() != "ADD":
                    raise no_words(f"{node.keyword} of a URL or from git", source.position)
                local()
                remote = True
                things.append(self._elsewhere(source, fixed or source.text, flags))
            else:
                # Nothing stands for the root, but indexes no tree.
                paths.append('"/"' if fixed == "" else self.words.code(source.text, source.position))
        local()
        return things, remote

    def _elsewhere(self, source: syntax.Word, address: str, flags: dict[str, Flag]) -> str:
        """The call for what ADD takes from an address, which is the word as far as it is known."""
        self.words.uses("remote")
        out = [self.words.code(source.text, source.position)]
        if (flag := flags.get("checksum")) is not None:
            out.append(f"checksum={self.words.code(flag.value or '', flag.position)}")
        # ADD passes it over for a file of the web.
        if (flag := flags.get("keep-git-dir")) is not None and is_on(flag) and _is_git(address):
            out.append("keep_git_dir=True")
        return f"remote({', '.join(out)})"


def _is_git(address: str) -> bool:
    try:
        return parse_git(address) is not None
    except ValueError:
        return False


def is_on(flag: Flag) -> bool:
    """Whether a switch that was given is on."""
    return flag.value is None or flag.value.lower() == "true"


def no_words(what: str, at: Position) -> BuildfileError:
    """The error for what can only be said in a Buildfile."""
    return BuildfileError(
        f"{what} has no equivalent in a Buildfile.py",
        at=at,
        hint="keep this stage in the Buildfile and start from it: Image.from_buildfile(…, target=…)",
    )


def _read(reader: Callable[[str], int], text: str, at: Position) -> int:
    try:
        return reader(text)
    except ValueError as problem:
        raise BuildfileError(str(problem), at=at) from problem


def _is_number(text: str) -> bool:
    """Whether a text is one to Python, too, for which none begins with a zero."""
    return text.isdecimal() and text.isascii() and (text == "0" or text[0] != "0")


def _named(pairs: list[tuple[str, str]]) -> list[str]:
    """Pairs of code as keyword arguments, else as a dict, else (a name twice) as a list."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        return ["[" + ", ".join([f"({name}, {value})" for name, value in pairs]) + "]"]
    bare = [name[1:-1] for name in names]
    if all(identifier(name, ()) == name and name.isascii() for name in bare):
        return [f"{name}={value}" for name, (_, value) in zip(bare, pairs, strict=True)]
    return [mapping(pairs)]
