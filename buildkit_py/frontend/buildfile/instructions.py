"""From the tree of one instruction to its typed record.

Everything the grammar leaves open and a parser must decide is decided here:
flags, JSON forms, names, `key=value`. Nothing is expanded.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile import flags
from buildkit_py.frontend.buildfile.heredoc import parse_opening
from buildkit_py.frontend.buildfile.json_form import parse_array
from buildkit_py.frontend.buildfile.own_instructions import own_word
from buildkit_py.frontend.buildfile.syntax import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Flag,
    From,
    HealthcheckStep,
    Heredoc,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    RunStep,
    Shell,
    StopSignal,
    Transfer,
    User,
    Volume,
    Word,
    Workdir,
)
from buildkit_py.frontend.buildfile.tables import Token, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.errors import BuildfileSyntaxError
    from buildkit_py.frontend.buildfile.lines import Line, Source
    from buildkit_py.frontend.buildfile.syntax import Instruction
    from buildkit_py.source_map import Position

# Go's \s as BuildKit splits keyword, words and the old `ENV key value`.
BLANKS = " \t\v\f\r"
# The rules of the grammar that are no instruction of BuildKit's.
_OWN_WORDS = frozenset(("include", "function", "do", "if", "for", "let", "output", "service", "tag", "test"))


class Node:
    """One instruction's tokens with what every instruction has: keyword, place, source, flags."""

    def __init__(self, tree: Tree, source: Source) -> None:
        tokens = tree.children
        head = tokens[0]
        assert isinstance(head, Token)
        self.head = head
        self.source = source
        self.escape = source.escape
        self.line: Line = source.lines[(head.line or 1) - 1]
        self.keyword = head.upper()
        self.position = self.place(head)
        self.text = self.line.text[(head.column or 1) - 1 :]
        self.flag_tokens = [token for token in tokens[1:] if isinstance(token, Token) and token.type == "FLAG"]
        self.tokens = [token for token in tokens[1:] if isinstance(token, Token) and token.type != "FLAG"]
        self.trigger = tokens[-1] if isinstance(tokens[-1], Tree) else None

    def place(self, token: Token) -> Position:
        return self.source.position(self.line, (token.column or 1) - 1)

    def fail(self, message: str, token: Token, *, width: int = 0, hint: str = "") -> BuildfileSyntaxError:
        row, column = self.line.place((token.column or 1) - 1)
        return self.source.error(message, row, column, width=width or len(token), hint=hint)

    def flags(self) -> tuple[Flag, ...]:
        seen: set[str] = set()
        found = []
        for token in self.flag_tokens:

            def fail(message: str, width: int, hint: str, token: Token = token) -> BuildfileSyntaxError:
                return self.fail(message, token, width=width, hint=hint)

            place = self.place(token)
            found.append(flags.read(self.keyword, token, place, escape=self.escape, seen=seen, fail=fail))
        return tuple(found)

    def no_flags(self) -> None:
        """Raise for the first flag of an instruction that has none."""
        if self.flag_tokens:
            self.flags()

    def rest(self, token: Token) -> str:
        """The line from this token on."""
        return self.line.text[(token.column or 1) - 1 :]

    def word(self, token: Token) -> Word:
        return Word(str(token), self.place(token))

    def json(self, token: Token) -> tuple[str, ...] | None:
        """The strings of the JSON array that begins here, None where none does."""
        if not token.startswith("["):
            return None
        rest = self.rest(token)
        try:
            return parse_array(rest)
        except ValueError as problem:
            raise self.fail(
                str(problem), token, width=len(rest), hint='put quotes around every element, as in ["a", "1"]'
            ) from problem

    def words(self) -> tuple[tuple[Word, ...], bool]:
        """The words, or the elements of the JSON array, which all stand where it begins."""
        array = self.json(self.tokens[0])
        if array is None:
            return tuple(self.word(token) for token in self.tokens), False
        position = self.place(self.tokens[0])
        return tuple(Word(item, position) for item in array), True

    def command(self, tokens: list[Token]) -> Command:
        """What is run. No tokens are the empty shell command."""
        if not tokens:
            return Command("", None, self.position)
        argv = self.json(tokens[0])
        shell = str(tokens[0]) if argv is None else None
        return Command(shell, argv, self.place(tokens[0]))

    def heredocs(self) -> tuple[Heredoc, ...]:
        found = []
        for body in self.line.heredocs:
            opening = body.opening
            position = self.source.position(self.line, opening.column)
            found.append(
                Heredoc(opening.name, body.text, opening.expand, opening.strip_tabs, position, opening.fd, body.raw)
            )
        return tuple(found)

    def pairs(self) -> tuple[Pair, ...]:
        """`key=value` of ENV and LABEL."""
        if self.tokens[0].type == "OLD_PAIR":
            return (self._old_pair(self.tokens[0]),)
        pairs = []
        for token in self.tokens:
            key, _, value = self._complete(token).partition("=")
            if not key:
                raise self.fail(f"{self.keyword} has a value without a name", token, hint="write `NAME=value`")
            pairs.append(Pair(key, value, self.place(token)))
        return tuple(pairs)

    def _old_pair(self, token: Token) -> Pair:
        end = next((at for at, ch in enumerate(token) if ch in BLANKS), len(token))
        value = token[end:].lstrip(BLANKS)
        if not value:
            raise self.fail(
                f"{self.keyword} `{token}` has no value", token, hint=f"write `{self.keyword} {token}=value`"
            )
        return Pair(token[:end], value, self.place(token), legacy=True)

    def arguments(self) -> tuple[Pair, ...]:
        """`name` or `name=default` of ARG."""
        pairs = []
        for token in self.tokens:
            key, equals, value = self._complete(token).partition("=")
            if not key:
                raise self.fail("ARG has a default without a name", token, hint="write `ARG NAME=default`")
            pairs.append(Pair(key, value if equals else None, self.place(token)))
        return tuple(pairs)

    def _complete(self, token: Token) -> str:
        """The word without an escape character at its end that has nothing to escape."""
        bare = token.rstrip(self.escape)
        return token[:-1] if (len(token) - len(bare)) % 2 else str(token)

    def doc(self, name: str) -> str:
        """The description above: the line `# name text`, as BuildKit wants it, or else all of the comment."""
        for line in self.line.doc:
            if name and line.startswith(name + " "):
                return line[len(name) :].strip()
        return "\n".join(self.line.doc)


def build(tree: Tree, source: Source) -> Instruction:
    """The record of an instruction's tree. Raises `BuildfileSyntaxError` for what the grammar could not see."""
    if tree.data in _OWN_WORDS:
        return own_word(tree, lambda part: Node(part, source), lambda part: build(part, source))
    node = Node(tree, source)
    place, line_end, text = node.position, node.line.line_end, node.text
    match node.keyword:
        case "FROM":
            image = node.word(node.tokens[0])
            name = str(node.tokens[2]) if len(node.tokens) == 3 else ""
            name = name if "$" in name else name.lower()  # variables keep their case
            return From(image, name, node.flags(), place, line_end, node.doc(name), "FROM", text)
        case "ARG":
            arguments = node.arguments()
            return Arg(arguments, place, line_end, node.doc(arguments[0].key), "ARG", text)
        case "RUN":
            return RunStep(node.command(node.tokens), node.flags(), node.heredocs(), place, line_end, "RUN", text)
        case "COPY" | "ADD":
            return _transfer(node)
        case "HEALTHCHECK":
            return _healthcheck(node)
        case "ONBUILD":
            return _onbuild(node)
    if node.keyword not in flags.UNREAD:
        node.no_flags()
    match node.keyword:
        case "ENV":
            return Env(node.pairs(), place, line_end, "ENV", text)
        case "LABEL":
            return Label(node.pairs(), place, line_end, "LABEL", text)
        case "CMD":
            return Cmd(node.command(node.tokens), place, line_end, "CMD", text)
        case "ENTRYPOINT":
            return Entrypoint(node.command(node.tokens), place, line_end, "ENTRYPOINT", text)
        case "SHELL":
            argv = node.json(node.tokens[0])
            if not argv:
                raise node.fail("SHELL needs at least the name of a program", node.tokens[0])
            return Shell(argv, place, line_end, "SHELL", text)
        case "EXPOSE":
            return Expose(tuple(node.word(token) for token in node.tokens), place, line_end, "EXPOSE", text)
        case "VOLUME":
            paths, json = node.words()
            if not paths:
                raise node.fail("VOLUME needs at least one path", node.tokens[0])
            if any(not path.text for path in paths):
                raise node.fail("a VOLUME cannot be an empty path", node.tokens[0])
            return Volume(paths, json, place, line_end, "VOLUME", text)
        case "WORKDIR":
            return Workdir(node.word(node.tokens[0]), place, line_end, "WORKDIR", text)
        case "USER":
            return User(node.word(node.tokens[0]), place, line_end, "USER", text)
        case "STOPSIGNAL":
            return StopSignal(node.word(node.tokens[0]), place, line_end, "STOPSIGNAL", text)
        case _:
            return Maintainer(str(node.tokens[0]), place, line_end, "MAINTAINER", text)


def _transfer(node: Node) -> Transfer:
    words, _ = node.words()
    if len(words) < 2:
        raise node.fail(
            f"{node.keyword} needs a source and a destination", node.tokens[0], width=len(node.rest(node.tokens[0]))
        )
    # Of several heredocs of one name each source that names it is the last, as BuildKit has it.
    heredocs = {heredoc.name: heredoc for heredoc in node.heredocs()}

    def names(word: Word) -> str:
        opening = parse_opening(word.text)
        return opening.name if opening is not None and opening.name in heredocs else ""

    *sources, dest = words
    if names(dest):
        raise node.fail(
            f"{node.keyword} cannot have a heredoc as its destination",
            node.tokens[-1],
            hint="a heredoc is a source; the destination comes last",
        )
    documents = tuple(heredocs[names(word)] for word in sources if names(word))
    sources = [word.replace(text="<<" + names(word)) if names(word) else word for word in sources]
    return Transfer(
        tuple(sources),
        dest,
        node.flags(),
        documents,
        node.position,
        node.line.line_end,
        node.keyword,
        node.text,
    )


def _healthcheck(node: Node) -> HealthcheckStep:
    place, line_end, text = node.position, node.line.line_end, node.text
    if node.tokens[0].type == "NONE":
        return HealthcheckStep(None, (), place, line_end, "HEALTHCHECK", text)
    command = node.command(node.tokens[1:])
    if command.argv == ():
        raise node.fail("HEALTHCHECK CMD needs a command", node.tokens[1])
    return HealthcheckStep(command, node.flags(), place, line_end, "HEALTHCHECK", text)


def _onbuild(node: Node) -> OnBuild:
    assert node.trigger is not None
    node.no_flags()
    trigger = build(node.trigger, node.source)
    text = trigger.source
    for body in node.line.heredocs:
        text += "\n" + body.raw + body.opening.name
    return OnBuild(text, trigger, node.position, node.line.line_end, "ONBUILD", node.text)
