"""As much of TextMate's engine as our syntax file needs: lines with ends, a stack of rules, the leftmost match."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

Rule = dict[str, Any]


@dataclass
class Open:
    """A `begin` rule that waits for its end."""

    rule: Rule
    end: str
    scopes: list[str] = field(default_factory=list)


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Painter:
    """Gives each character of a text its scopes."""

    def __init__(self, syntax: Rule) -> None:
        self.syntax = syntax

    def paint(self, text: str) -> list[list[list[str]]]:
        """For each line, for each of its characters, the scopes from the outermost on."""
        stack = [Open({"patterns": self.syntax["patterns"]}, "")]
        return [self._line(line + "\n", stack) for line in text.split("\n")]

    def _line(self, line: str, stack: list[Open]) -> list[list[str]]:
        painted: list[list[str]] = [[] for _ in line]
        at = 0
        while at < len(line):
            top = stack[-1]
            outer = [scope for one in stack for scope in one.scopes]
            found, rule = self._next(top, line, at)
            stop = found.start() if found else len(line)
            inside = outer + ([top.rule["contentName"]] if "contentName" in top.rule else [])
            for index in range(at, stop):
                painted[index] = list(inside)
            if found is None:
                break
            own = outer + ([rule["name"]] if rule and "name" in rule else [])
            for index in range(found.start(), found.end()):
                painted[index] = list(own)
            if rule is None:
                self._captures(top.rule.get("endCaptures", {}), found, outer, painted)
                stack.pop()
            else:
                self._captures(rule.get("captures", rule.get("beginCaptures", {})), found, own, painted)
                if "begin" in rule:
                    stack.append(Open(rule, _filled(rule["end"], found), [rule["name"]] if "name" in rule else []))
            assert found.end() > found.start() or rule is None or "begin" in rule, (rule, line)
            at = found.end()
        return painted

    def _next(self, top: Open, line: str, at: int) -> tuple[re.Match[str] | None, Rule | None]:
        """The leftmost match; of two at one place the end of the open rule goes first, or last where that says so."""
        best: re.Match[str] | None = None
        chosen: Rule | None = None
        for rule in self._flat(top.rule.get("patterns", [])):
            found = compiled(rule.get("match") or rule["begin"]).search(line, at)
            if found and (best is None or found.start() < best.start()):
                best, chosen = found, rule
        if top.end:
            end = compiled(top.end).search(line, at)
            last = top.rule.get("applyEndPatternLast")
            if end and (best is None or end.start() < best.start() or (end.start() == best.start() and not last)):
                return end, None
        return best, chosen

    def _flat(self, patterns: list[Rule]) -> list[Rule]:
        out: list[Rule] = []
        for rule in patterns:
            if "include" in rule:
                rule = self.syntax["repository"][rule["include"].removeprefix("#")]
            if "match" in rule or "begin" in rule:
                out.append(rule)
            else:
                out += self._flat(rule["patterns"])
        return out

    def _captures(self, captures: Rule, found: re.Match[str], outer: list[str], painted: list[list[str]]) -> None:
        for group, rule in captures.items():
            start, end = found.span(int(group))
            if start < 0:
                continue
            if "patterns" in rule:
                within = [Open({"patterns": rule["patterns"]}, "", list(outer))]
                painted[start:end] = self._line(found.string[:end] + "\n", within)[start:end]
            for index in range(start, end) if "name" in rule else ():
                painted[index] = [*outer, rule["name"]]


def _filled(end: str, begin: re.Match[str]) -> str:
    """The expression of an end, with what its beginning matched in the place of back references."""
    return re.sub(r"\\(\d)", lambda group: re.escape(begin[int(group[1])] or ""), end)
