"""The variables of a file outside its stages: the platforms', its global ARGs, and those of the blocks around."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.expand import expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit_py.frontend.buildfile.static_scope import StaticScope
    from buildkit_py.frontend.buildfile.syntax import Arg


class GlobalScope:
    """`values` are the global variables that are set; `predefined` are there from the beginning."""

    def __init__(self, predefined: Iterable[tuple[str, str]], build_args: Mapping[str, str], escape: str) -> None:
        self._predefined = tuple(predefined)
        self.build_args = build_args
        self.escape = escape
        self.values = {name: build_args.get(name, value) for name, value in self._predefined}
        self._declared: set[str] = set()
        self._blocks: list[dict[str, str]] = []

    def declare(self, node: Arg) -> None:
        """A global ARG: the build arg, else its default, else nothing. Raises `BuildfileError`."""
        for pair in node.pairs:
            self._declared.add(pair.key)
            if pair.key in self.build_args:
                self.values[pair.key] = self.build_args[pair.key]
            elif pair.value is not None:
                self.values[pair.key] = expand(pair.value, self.get, escape=self.escape, at=pair.position)

    def of_other_file(self) -> GlobalScope:
        """That of a file which this one includes: the same build args, and none of this file's variables."""
        return GlobalScope(self._predefined, self.build_args, self.escape)

    def get(self, name: str) -> str | None:
        """The value of a variable here, the innermost block's first."""
        for block in reversed(self._blocks):
            if name in block:
                return block[name]
        return self.values.get(name)

    def enter(self) -> None:
        """A block begins."""
        self._blocks.append({})

    def bind(self, name: str, value: str) -> None:
        """A variable of the innermost block."""
        self._blocks[-1][name] = value

    def leave(self) -> tuple[str, ...]:
        """The innermost block ends; the names of its variables."""
        return tuple(self._blocks.pop())

    def variables(self) -> tuple[tuple[str, str], ...]:
        """The variables of all blocks around this place."""
        merged: dict[str, str] = {}
        for block in self._blocks:
            merged.update(block)
        return tuple(merged.items())

    def static(self, inner: Mapping[str, str] | None = None) -> StaticScope:
        """For the words and conditions of a block that stands here, or of what stood in one with `inner` variables."""
        from buildkit_py.frontend.buildfile.static_scope import StaticScope

        own = inner if inner is not None else {}
        names = {*self.values, *(name for name, _ in self.variables()), *own}
        lookup = (lambda name: own[name] if name in own else self.get(name)) if own else self.get
        return StaticScope(lookup, self._declared, names, self.escape)
