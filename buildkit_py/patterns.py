"""The rules of `.dockerignore`: which paths of a context are left out.

They are moby/patternmatcher's as BuildKit walks a tree with it: a matching
parent matches what is below it, the last match wins, `!` takes back, and a
rule that could not change the answer is not asked, so that what is below does
not count it as a matching parent either. Only what moby's detour through
regular expressions does by accident is left out: here `[*]` is a class, `\\d`
is a `d`, `^` outside a class is a `^`, and `*` matches a newline.

A pattern falls into components at its slashes, and a walk carries along which
component each pattern waits for, as a regular expression's matcher does with
its states. Directories with the same answer to that share one `Level`. So no
pattern takes more than linear time, and where none can match any more the
level is `settled` and nothing need be asked.
"""

from __future__ import annotations

from buildkit_py.wildcards import DEEP, REST, Automaton, Glob, any_of, components, match, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from buildkit_py.wildcards import State

__all__ = ["IgnoreRules", "Level", "match", "read_ignore"]

# unicode.IsSpace of Go, without U+001C to U+001F, which Python would strip too
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def read_ignore(data: bytes) -> tuple[str, ...]:
    """The patterns of an ignore file: no comments (`#` in column 0), no blank lines, paths cleaned.

    A leading `/` is dropped, since every pattern counts from the top of the context.
    """
    patterns = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(_SPACE)
        if not pattern:
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:].strip(_SPACE)
        if pattern:
            pattern = _clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append("!" + pattern if negated else pattern)
    return tuple(patterns)


class IgnoreRules:
    """The patterns of one ignore file, ready to be asked about paths relative to its context.

    Raises `ValueError` for a malformed pattern and a `!` alone.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.rules = tuple([_Rule(_clean(text)) for pattern in patterns if (text := pattern.strip(_SPACE))])
        automata = [(index, rule.automaton) for index, rule in enumerate(self.rules)]
        self.automata = tuple([(index, automaton) for index, automaton in automata if automaton is not None])
        self._levels: dict[Any, Level] = {}
        spots = {(index, 0) for index, rule in enumerate(self.rules) if rule.automaton is None}
        starts = tuple([automaton.start for _, automaton in self.automata])
        self.top = self._level((False,) * len(self.rules), self._closed(spots), starts)
        self._known = {"": self.top}

    def ignored(self, path: str) -> bool:
        """Whether a path is left out, by its own name or because it is below something that is. The top never is."""
        if not path:
            return False
        parent, _, name = path.rpartition("/")
        level = self._known.get(parent)
        return (level if level is not None else self.level(parent)).ignores(name)

    def may_reinclude(self, directory: str) -> bool:
        """Whether a `!` pattern may match something below an ignored directory."""
        return self.level(directory).reincludes

    def level(self, directory: str) -> Level:
        """How the entries of a directory are judged. "" is the context itself."""
        found = self._known.get(directory)
        if found is not None:
            return found
        level, at = self.top, 0
        while at <= len(directory):
            end = directory.find("/", at)
            end = len(directory) if end < 0 else end
            known = self._known.get(directory[:end])
            level = self._known[directory[:end]] = known if known is not None else level.below(directory[at:end])
            at = end + 1
        return level

    def _closed(self, spots: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """With what follows a `**`, which may stand for nothing."""
        for index, part in tuple(spots):
            parts = self.rules[index].parts
            while parts[part] == DEEP:
                part += 1
                spots.add((index, part))
        return frozenset(spots)

    def _level(self, hits: tuple[bool, ...], spots: frozenset[tuple[int, int]], states: tuple[State, ...]) -> Level:
        verdict = _last(self.rules, hits)
        waiting = {index for index, _ in spots}
        waiting.update([index for (index, _), state in zip(self.automata, states, strict=True) if state])
        if all(self.rules[index].negated != verdict for index in waiting):
            # Whatever else matches, it says what has been said.
            spots, states = frozenset(), (frozenset(),) * len(states)
        key = (hits, spots, states)
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level(self, hits, spots, states)
        return level


class Level:
    """How names in one directory are judged, given what matched above it.

    `settled`: every name here and below gets the same answer, `default`.
    `reincludes`: a `!` pattern may still match here or below.
    """

    def __init__(
        self, owner: IgnoreRules, hits: tuple[bool, ...], spots: frozenset[tuple[int, int]], states: tuple[State, ...]
    ) -> None:
        self._owner = owner
        self._hits = hits
        self._spots = sorted(spots)
        self._states = states
        self._verdicts: dict[Any, tuple[bool, Level | None]] = {}
        self._names: dict[str, list[tuple[int, int]]] = {}
        self._globs: list[tuple[int, int, Glob]] = []
        for spot in self._spots:
            part = owner.rules[spot[0]].parts[spot[1]]
            if isinstance(part, Glob):
                self._globs.append((*spot, part))
            elif part not in (DEEP, REST):
                self._names.setdefault(part, []).append(spot)
        self._any_glob = any_of([glob for _, _, glob in self._globs])
        running = [index for (index, _), state in zip(owner.automata, states, strict=True) if state]
        self._runs = bool(running)
        self.settled = not self._spots and not running
        self.reincludes = any(owner.rules[index].negated for index in [*running, *[spot[0] for spot in self._spots]])
        self.default = self._judge((), (frozenset(),) * len(states))[0]

    def ignores(self, name: str) -> bool:
        """Whether the entry of that name is left out."""
        if self._runs:
            return self._judge(self._advance(name), self._run(name))[0]
        if name in self._names or (self._any_glob is not None and self._any_glob(name)):
            return self._judge(self._advance(name), self._states)[0]
        return self.default

    def below(self, name: str) -> Level:
        """How the entries of the directory of that name are judged."""
        if self.settled:
            return self
        states = self._run(name)
        key = (self._advance(name), states)
        verdict, level = self._judge(*key)
        if level is None:
            level = self._descend(*key)
            self._verdicts[key] = (verdict, level)
        return level

    def _advance(self, name: str) -> tuple[tuple[int, int], ...]:
        """The waiting components that the name is one of."""
        spots = list(self._names.get(name, ()))
        spots += [(index, part) for index, part, glob in self._globs if glob.accepts(name)]
        return tuple(spots)

    def _run(self, name: str) -> tuple[State, ...]:
        """The automata's states after the name."""
        if not self._runs:
            return self._states
        automata = zip(self._owner.automata, self._states, strict=True)
        return tuple([automaton.run(state, name) for (_, automaton), state in automata])

    def _judge(self, advanced: tuple[tuple[int, int], ...], states: tuple[State, ...]) -> tuple[bool, Level | None]:
        key = (advanced, states)
        found = self._verdicts.get(key)
        if found is None:
            hits = self._now(advanced, states)
            found = self._verdicts[key] = (_last(self._owner.rules, hits), None)
        return found

    def _now(self, advanced: tuple[tuple[int, int], ...], states: tuple[State, ...]) -> tuple[bool, ...]:
        """Which patterns count as matching the name: those its parent has, and those it adds."""
        rules = self._owner.rules
        matching = {index for index, part in advanced if part + 1 == len(rules[index].parts)}
        matching.update([index for index, part in self._spots if rules[index].parts[part] == REST])
        automata = zip(self._owner.automata, states, strict=True)
        matching.update([index for (index, automaton), state in automata if automaton.final in state])
        hits = list(self._hits)
        ignored = False
        for index, rule in enumerate(rules):
            if not hits[index] and rule.negated == ignored and index in matching:
                hits[index] = True
            if hits[index]:
                ignored = not rule.negated
        return tuple(hits)

    def _descend(self, advanced: tuple[tuple[int, int], ...], states: tuple[State, ...]) -> Level:
        owner = self._owner
        hits = self._now(advanced, states)
        following = {(index, part) for index, part in self._spots if owner.rules[index].parts[part] in (DEEP, REST)}
        following.update([(index, part + 1) for index, part in advanced if part + 1 < len(owner.rules[index].parts)])
        # What has matched is matched for everything below and need not wait for more.
        spots = {spot for spot in following if not hits[spot[0]]}
        entered = [
            frozenset() if hits[index] else automaton.step(state, "/")
            for (index, automaton), state in zip(owner.automata, states, strict=True)
        ]
        return owner._level(hits, owner._closed(spots), tuple(entered))


def _last(rules: tuple[_Rule, ...], hits: tuple[bool, ...]) -> bool:
    for rule, hit in zip(reversed(rules), reversed(hits), strict=True):
        if hit:
            return not rule.negated
    return False


class _Rule:
    """One pattern: its components (texts, globs, `**`), or where it has none an automaton over whole paths."""

    def __init__(self, pattern: str) -> None:
        self.negated = pattern.startswith("!")
        text = pattern[1:] if self.negated else pattern
        if not text:
            raise ValueError("`!` alone is no pattern")
        tokens = parse(text, deep=True)
        parts = components(tokens)
        self.parts: tuple[Any, ...] = parts or ()
        self.automaton = None if parts is not None else Automaton(tokens)


def _clean(path: str) -> str:
    """Go's `filepath.Clean`."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts and parts[-1] != "..":
                parts.pop()
            elif not rooted:
                parts.append(part)
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."
