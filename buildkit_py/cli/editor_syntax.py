"""The syntax file for editors, in TextMate's format: docs/editors/buildfile.tmLanguage.json, written from the grammar.

python -m buildkit_py.cli.editor_syntax > docs/editors/buildfile.tmLanguage.json

Keywords, the words that may stand in their lines, and flags come from the
grammar and from the table of flags. How a line goes on and where a heredoc
ends, which the grammar does not say either, stands here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_KEYWORD = 9  # the priority of keywords in the grammar
_LINE_END = "_NL"
_TEXT = frozenset(("TEXT", "CAPTURED"))
_FILES = ("Buildfile", "Dockerfile", "Containerfile", "dockerfile", "containerfile")


class Words:
    """What the grammar says of keywords. `lines` are those that begin a line, each with those that may follow in it."""

    def __init__(self) -> None:
        from buildkit_py.frontend.buildfile import grammar

        made = grammar.parser("\\")
        self.patterns = {
            terminal.name: f"(?i:{terminal.pattern.value})" if terminal.pattern.flags else terminal.pattern.value
            for terminal in made.terminals
            if terminal.priority >= _KEYWORD
        }
        self._rules: dict[str, list[list[str]]] = {}
        for rule in made.rules:
            self._rules.setdefault(str(rule.origin.name), []).append([symbol.name for symbol in rule.expansion])
        self.lines: dict[str, tuple[str, ...]] = {}
        self.blocks: set[str] = set()
        self.with_text: set[str] = set()
        for name in self._rules:
            first = self._first(name, set())
            if name[0] == "_" or len(first) != 1 or not first <= set(self.patterns):
                continue
            (keyword,) = first
            if keyword in ("DEFINED", "NOT"):  # they begin a part of a condition
                continue
            found = self._within(name, set())
            self.lines[keyword] = tuple(word for word in found if word in self.patterns and word != keyword)
            if _TEXT.intersection(found):
                self.with_text.add(keyword)
            for expansion in self._rules[name]:
                if _LINE_END in expansion:
                    self.blocks.add(keyword)
                    self.lines |= dict.fromkeys(self._behind(expansion), ())
        self.blocks |= {word for name in self._rules for one in self._rules[name] for word in self._behind(one)}
        self.triggers = tuple(sorted(self._first("_trigger", set())))

    def _first(self, name: str, seen: set[str]) -> set[str]:
        """The terminals that may begin a rule."""
        if name not in self._rules:
            return {name}
        if name in seen:
            return set()
        return {word for one in self._rules[name] for word in self._first(one[0], seen | {name})}

    def _within(self, name: str, seen: set[str]) -> list[str]:
        """The terminals of the line that a rule begins, each once, without those of triggers."""
        found: list[str] = []
        for expansion in self._rules[name]:
            for symbol in expansion:
                if symbol == _LINE_END:
                    break
                if symbol not in self._rules:
                    found.append(symbol)
                elif symbol not in seen and symbol != "_trigger":
                    found += self._within(symbol, seen | {name})
        return list(dict.fromkeys(found))

    def _behind(self, expansion: list[str]) -> list[str]:
        """The keywords that stand in a line of their own below the first one of a rule."""
        if _LINE_END not in expansion:
            return []
        return [word for word in expansion[expansion.index(_LINE_END) :] if word in self.patterns]


def syntax() -> dict[str, Any]:
    """The whole syntax as an object."""
    words = Words()
    plain, backtick = _statements(words, "\\\\"), _statements(words, "`")
    return {
        "name": "Buildfile",
        "scopeName": "source.buildfile",
        "fileTypes": list(_FILES),
        "firstLineMatch": r"^#\s*(?i:syntax|escape|check)\s*=",
        "patterns": [{"include": "#escaped-by-backtick"}, {"include": "#lines"}],
        "repository": {
            "escaped-by-backtick": {
                # from this directive to the end of the file
                "begin": r"^\s*(#)\s*((?i:escape))\s*(=)\s*(`)\s*$",
                "end": r"(?!)",
                "beginCaptures": _directive_captures(),
                "patterns": [{"include": "#lines-by-backtick"}],
            },
            "lines": {"patterns": [{"include": "#directive"}, {"include": "#comment"}, *plain]},
            "lines-by-backtick": {"patterns": [{"include": "#directive"}, {"include": "#comment"}, *backtick]},
            "directive": {
                "match": rf"^\s*(#)\s*((?i:{'|'.join(_directives())}))\s*(=)\s*(.+?)\s*$",
                "captures": _directive_captures(),
            },
            "comment": {"match": r"^\s*#.*$", "name": "comment.line.number-sign.buildfile"},
            "string": {
                "patterns": [
                    _region('"', "string.quoted.double.buildfile", [{"include": "#variable"}]),
                    _region("'", "string.quoted.single.buildfile", []),
                ]
            },
            "variable": {
                "match": r"\$(?:\w+|\{\w*(?:[^{}]|\{[^{}]*\})*\})",
                "name": "variable.other.buildfile",
            },
        },
    }


def _directives() -> Iterable[str]:
    from buildkit_py.frontend.buildfile.directives import NAMES

    return NAMES


def _statements(words: Words, escape: str) -> list[dict[str, Any]]:
    return [_statement(words, keyword, escape) for keyword in words.lines]


def _statement(words: Words, keyword: str, escape: str) -> dict[str, Any]:
    """From a keyword to the end of its last line."""
    from buildkit_py.frontend.buildfile.flags import FLAGS
    from buildkit_py.frontend.buildfile.heredoc import CARRIERS

    kind = "keyword.control" if keyword in words.blocks else "keyword.other.instruction"
    begin, captures = rf"^\s*({words.patterns[keyword]})", {"1": _scope(f"{kind}.{keyword.lower()}")}
    inner = words.lines[keyword]
    flags = _flags(FLAGS.get(keyword, {}))
    patterns: list[dict[str, Any]] = [
        # A line of comment and an empty one are in no instruction, but they do not end it.
        {"match": r"^\s*#.*\n", "name": "comment.line.number-sign.buildfile"},
        {"match": r"^[ \t]*\n"},
        {"match": rf"(?<!{escape}){escape}[ \t]*\n", "name": "constant.character.escape.line-continuation.buildfile"},
    ]
    if keyword == "ONBUILD":
        following = "|".join(words.patterns[word] for word in words.triggers)
        begin += rf"(?:\s+({following}))?"
        captures["2"] = _scope("keyword.other.instruction.trigger")
        carriers, flags = True, _flags({name: "" for word in words.triggers for name in FLAGS.get(word, {})})
    else:
        carriers = keyword in CARRIERS
        if inner and keyword in words.with_text:
            # Behind it anything may stand, also this word: only the first one counts.
            following = "|".join(words.patterns[word] for word in inner)
            begin += rf"(?:((?:\s+--\S+)*)\s+({following}))?"
            captures |= {"2": {"patterns": flags}, "3": _scope("keyword.other.word")}
        elif inner:
            following = "|".join(words.patterns[word] for word in inner)
            patterns.append({"match": rf"(?<![\w$.{{-])(?:{following})", "name": "keyword.operator.word.buildfile"})
    patterns += flags
    if carriers:
        patterns.append(_heredoc())
    patterns += [{"include": "#string"}, {"include": "#variable"}]
    return {
        "begin": begin,
        "beginCaptures": captures,
        "end": r"\n",
        "applyEndPatternLast": 1,
        "name": f"meta.{keyword.lower()}.buildfile",
        "patterns": patterns,
    }


def _flags(names: Iterable[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    return [{"match": rf"(?<=\s)--(?:{'|'.join(names)})(?=[=\s])", "name": "variable.parameter.flag.buildfile"}]


def _heredoc() -> dict[str, Any]:
    """From the last heredoc that a line opens to its end: those before it end above."""
    return {
        "begin": r"(?<!\S)(?:\d*<<-?([\"']?)\w[\w.-]*\1(?=\s).*\s)?\d*<<-?([\"']?)(\w[\w.-]*)\2(?=\s)(.*)\n",
        "beginCaptures": {"0": _scope("string.unquoted.heredoc.opening")},
        "end": r"^\t*\3(?=\s*$)",
        "endCaptures": {"0": _scope("string.unquoted.heredoc.closing")},
        "contentName": "string.unquoted.heredoc.buildfile",
    }


def _directive_captures() -> dict[str, Any]:
    return {
        "0": _scope("comment.line.number-sign.directive"),
        "2": _scope("keyword.other.directive"),
        "4": _scope("string.unquoted.directive"),
    }


def _region(quote: str, name: str, patterns: list[dict[str, Any]]) -> dict[str, Any]:
    """A quoted part of a line. One that is left open ends with the line, and the line may go on."""
    escaped = {"match": r"\\[^\n]", "name": "constant.character.escape.buildfile"}
    inside = [escaped, *patterns] if patterns else []
    return {"begin": quote, "end": rf"{quote}|(?=[\\`]?[ \t]*\n)", "name": name, "patterns": inside}


def _scope(name: str) -> dict[str, Any]:
    return {"name": f"{name}.buildfile"}


def text() -> str:
    """The file."""
    import json

    return json.dumps(syntax(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
