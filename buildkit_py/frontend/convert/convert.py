"""A Buildfile's tree into the text of a Buildfile.py that makes the same graph.

A stage becomes a target function, an ARG a parameter, a comment a comment or
the docstring, a heredoc a text above the function that uses it. What a
Buildfile.py cannot say is an error that points at its line.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.expand import expand
from buildkit_py.frontend.buildfile.stages import StageTable
from buildkit_py.frontend.buildfile.syntax import Arg, From, OnBuild
from buildkit_py.frontend.convert.arguments import STAGE, Arguments, pairs_of, stage_default
from buildkit_py.frontend.convert.calls import Calls, no_words
from buildkit_py.frontend.convert.code import block, call, chain, comment_lines, docstring, identifier, literal
from buildkit_py.frontend.convert.comments import Comments
from buildkit_py.frontend.convert.words import Words, variables
from buildkit_py.frontend.platform_args import platform_args, this_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Buildfile, Instruction
    from buildkit_py.source_map import Position

# What a converted file may import or name, and so no function or parameter of it is named.
IMPORTED = frozenset(
    (
        "Image",
        "bind",
        "cache",
        "context",
        "expand",
        "file",
        "host",
        "platform_arg",
        "scratch",
        "secret",
        "ssh",
        "str",
        "target",
        "tmpfs",
    )
)
# What Python has words of its own for.
_NO_WORDS = frozenset(("INCLUDE", "FUNCTION", "DO", "IF", "FOR", "LET", "SERVICE", "TEST"))
_CONTEXT = "src"
_LOCALS = ("image", "base", "stages")


def convert(tree: Buildfile, text: str, *, context: str = ".") -> str:
    """The text of the Buildfile.py.

    `text` is what the tree was parsed from. `context` is the directory of the
    build context, relative to where the new file will be. Raises
    `BuildfileError` for what cannot be said, and for what no build would take.
    """
    return _File(tree, text, context).text()


class _File:
    """One file being written: its stages, their functions' names, and what is imported."""

    def __init__(self, tree: Buildfile, text: str, context: str) -> None:
        self.context = context
        self.imports: set[str] = {"Image", "target"}
        self.uses_context = False
        # Texts of several lines: all names, and the code of those that are still to be written.
        self.constant_names: set[str] = set()
        self.constants: list[str] = []
        self.comments = Comments(tree, text)
        self.words = Words(tree.escape, self.imports.add)
        for node in tree.instructions:
            if node.keyword in _NO_WORDS:
                raise no_words(node.keyword, node.position)
            if isinstance(node, From) and "$" in node.name:
                raise no_words("a variable in the name of a stage", node.position)
        self.table = StageTable(tree)
        self.scope = self._default_scope(tree)
        self.table.link(self._from_words)
        self.bodies = [self._body(stage) for stage in self.table.stages]
        taken = {*IMPORTED, _CONTEXT}
        self.functions: list[str] = []
        for stage in reversed(self.table.stages):  # the last of a name has the name
            name = identifier((stage.name or self._unnamed(stage)).replace("-", "_"), taken)
            taken.add(name)
            self.functions.insert(0, name)
        self.arguments = Arguments(self.table.global_args, self.bodies, self.words, {*taken, *_LOCALS})
        self.constant_names.update([parameter.name for parameter in self.arguments.parameters.values()])
        self._parameters: dict[int, list[str]] = {}

    def _unnamed(self, stage: StageNode) -> str:
        return "default" if stage is self.table.stages[-1] else f"stage_{stage.index}"

    def text(self) -> str:
        """All of it."""
        functions = [line for stage in self.table.stages for line in self._function(stage)]
        above = [line for arg in self.table.global_args for line in self.comments.above(arg)]
        names = sorted(self.imports | ({"context"} if self.uses_context else set()))
        head = [f"from buildkit_py import {', '.join(names)}"]
        if self.uses_context:
            head += ["", f"{_CONTEXT} = context({literal(self.context)})"]
        if above:
            head += ["", *comment_lines(above)]
        tail = self.comments.last()
        return "\n".join([*head, *functions, *(["", "", *comment_lines(tail)] if tail else []), ""])

    # What a stage is and needs

    def _default_scope(self, tree: Buildfile) -> dict[str, str]:
        """The variables of FROM where nothing is given, to see which stage a FROM means."""
        scope = dict(platform_args(this_platform(), this_platform(), ""))
        for arg in self.table.global_args:
            for pair in arg.pairs:
                if pair.value is not None:
                    scope[pair.key] = expand(pair.value, scope.get, escape=tree.escape, at=pair.position)
        return scope

    def _from_words(self, stage: StageNode) -> tuple[str, str]:
        head = stage.head
        word = expand(head.image.text, self.scope.get, escape=self.words.escape, at=head.image.position)
        return word, ""

    def _body(self, stage: StageNode) -> list[Instruction]:
        """The instructions of a stage, and before them the triggers of the stage that it starts from."""
        triggers = [node.trigger for node in stage.base.body if isinstance(node, OnBuild)] if stage.base else []
        return [self._with_plain_names(node) if isinstance(node, Arg) else node for node in (*triggers, *stage.body)]

    def _with_plain_names(self, node: Arg) -> Arg:
        """An ARG with its names as they come out: a parameter's name is known before anything is built."""
        pairs = []
        for pair in node.pairs:
            name = self.words.fixed(pair.key, pair.position)
            if name is None:
                raise no_words("a variable in the name of an ARG", pair.position)
            pairs.append(pair.replace(key=name))
        return node.replace(pairs=tuple(pairs))

    def _choices(self, stage: StageNode) -> list[StageNode]:
        """The stages that FROM may mean, where its word has variables: the last of each name above that fits."""
        word = stage.head.image.text
        if self.words.fixed(word, stage.head.image.position, {*self.arguments.global_names(), STAGE}) is not None:
            return []
        start, _, rest = word.partition("$")
        end = rest.rpartition("}")[2] if "}" in rest else ""
        above = {other.name: other for other in self.table.stages[: stage.index] if other.name}
        return [other for name, other in above.items() if name.startswith(start) and name.endswith(end)]

    def _needs(self, stage: StageNode) -> list[StageNode]:
        found = self._choices(stage) or ([stage.base] if stage.base is not None else [])
        for node in self.bodies[stage.index]:
            found += [other for other, _ in self.table.references(node)]
        return found

    def _names(self, stage: StageNode) -> list[str]:
        """The ARGs that a stage and those it needs depend on, in the order of the file."""
        if stage.index not in self._parameters:
            own = [pair.key for pair in pairs_of(self.bodies[stage.index])]
            used = {*own, *self.arguments.needed_for([*_variables_of(stage), *own])}
            for other in self._needs(stage):
                used |= set(self._names(other))
            self._parameters[stage.index] = [name for name in self.arguments.parameters if name in used]
        return self._parameters[stage.index]

    # Code

    def _function(self, stage: StageNode) -> list[str]:
        self.constants = []
        links = []
        calls = Calls(self.words, self.arguments, self._source, self._constant)
        triggers = len(self.bodies[stage.index]) - len(stage.body)
        tags: list[str] = []
        for number, node in enumerate(self.bodies[stage.index]):
            if isinstance(node, own_words.Tag):
                tags += [literal(calls.settled(word, "TAG")) for word in node.names]
                continue
            if number < triggers and stage.base is not None:
                comments = [f"ONBUILD of {stage.base.title}"]
            else:
                comments = self.comments.above(node)
            links.append((comments, *calls.of(node)))
        start, statements = self._start(stage)
        body = chain(start, links)
        above = self.comments.above(stage.head)
        adjacent = self.comments.adjacent(stage.head)
        inside, above = above[len(above) - adjacent :], above[: len(above) - adjacent]
        return [
            *([""] if self.constants else []),
            *(line for constant in self.constants for line in ("", constant)),
            "",
            "",
            *comment_lines(above),
            self._decorator(stage, tags),
            self._signature(stage),
            *([docstring(_described(stage, inside), "    ")] if inside else []),
            *[f"    {statement}" for statement in statements],
            *body,
        ]

    def _decorator(self, stage: StageNode, tags: list[str]) -> str:
        function = self.functions[stage.index]
        last_of_name = not stage.name or self.table.by_name[stage.name] is stage
        name = stage.name if stage.name and last_of_name else function.replace("_", "-")
        given = [f"name={literal(name)}"] * (name != function.replace("_", "-"))
        given += [f"tags=[{', '.join(dict.fromkeys(tags))}]"] * bool(tags)
        return call("@target", given, "") if given else "@target"

    def _signature(self, stage: StageNode) -> str:
        last = stage is self.table.stages[-1]
        declared = []
        for name in self._names(stage):
            parameter = self.arguments.parameters[name]
            if name == STAGE and name not in self.arguments.globals:
                parameter = parameter.replace(default=stage_default(stage, last))
            declared.append(parameter.declared())
        return "def " + call(self.functions[stage.index], declared, "") + " -> Image:"

    def _constant(self, name: str, text: str) -> str:
        code = block(text)
        if "\n" not in code:
            return code
        name = identifier(name.upper() if name.upper() != name.lower() else "text", self.constant_names)
        self.constant_names.add(name)
        self.constants.append(f"{name} = {code}")
        return name

    def _called(self, stage: StageNode) -> str:
        known = [self.arguments.parameters[name].name for name in self._names(stage)]
        return f"{self.functions[stage.index]}({', '.join([f'{name}={name}' for name in known])})"

    def _source(self, name: str, at: Position) -> str:
        """The code of what `--from` means."""
        if not name:
            self.uses_context = True
            return _CONTEXT
        node = self.table.find(name, at)
        if node is not None:
            return self._called(node)
        return self._image(literal(name), name, at)

    def _image(self, code: str, fixed: str | None, at: Position, platform: str = "") -> str:
        if fixed in ("scratch", "host://", "host:///"):
            function = "scratch" if fixed == "scratch" else "host"
            self.imports.add(function)
            return f"{function}()"
        if fixed is not None and fixed.startswith(("./", "../")):
            raise no_words(f"the target of another file `{fixed}`", at)
        return call("Image", [code, *([f"platform={platform}"] if platform else [])], "        ")

    def _start(self, stage: StageNode) -> tuple[str, list[str]]:
        """The code of what a stage starts from, and the statements before it."""
        head, arguments = stage.head, self.arguments
        used = _variables_of(stage)
        names = arguments.needed_for([*used, *[pair.key for pair in pairs_of(self.bodies[stage.index])]])
        values = {name: arguments.global_value(name) for name in arguments.global_names() if name in used}
        statements = list(arguments.locals_of(names))
        optional = arguments.optional(values)
        code = self.words.now(head.image.text, head.image.position, values, optional)
        fixed = self.words.fixed(head.image.text, head.image.position, values)
        if fixed == "":
            raise BuildfileError(f"FROM {head.image.text} comes to nothing", at=head.image.position)
        platform = ""
        for flag in head.flags:
            platform = self.words.now(flag.value or "", flag.position, values, optional)
            if platform == '""':
                raise BuildfileError(f"--platform={flag.value} comes to nothing", at=flag.position)
        choices = self._choices(stage)
        if not choices:
            if stage.base is not None:
                return self._called(stage.base), statements
            return self._image(code, fixed, head.image.position, platform), statements
        if any(isinstance(node, OnBuild) for other in choices for node in other.body):
            raise no_words("a FROM that may mean stages with ONBUILD", head.image.position)
        if not code.isidentifier():
            statements.append(f"base = {code}")
            code = "base"
        stages = ", ".join([f"{literal(other.name)}: lambda: {self._called(other)}" for other in choices])
        statements.append(f"stages = {{{stages}}}")
        return (
            f"(stages[{code}]() if {code} in stages else {self._image(code, None, head.position, platform)})",
            statements,
        )


def _variables_of(stage: StageNode) -> set[str]:
    """The names that the FROM of a stage has behind dollar signs."""
    texts = [stage.head.image.text, *(flag.value or "" for flag in stage.head.flags)]
    return {name for text in texts for name in variables(text)}


def _described(stage: StageNode, lines: list[str]) -> list[str]:
    """A docstring's lines: what describes the stage by its name goes first."""
    described = [line for line in lines if stage.name and line.startswith(stage.name + " ")]
    if not described:
        return lines
    others = [line for line in lines if line is not described[0]]
    return [described[0][len(stage.name) :].strip(), *(["", *others] if others else [])]
