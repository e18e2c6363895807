"""The expressions of the parser's tables, compiled once on a machine and then kept for the engine that runs them.

`re` is an engine in C, `_sre`, and a compiler in Python, which is 4 ms to
import and 3 ms to compile what a usual file needs: most of what reading one
takes. What the compiler makes is a list of numbers, which the engine checks
when it gets it. They are kept for one version of Python and one grammar; where
this Python's compiler has no such list to give, it is asked each time.
"""

from __future__ import annotations

import _sre  # type: ignore[import-not-found]
import marshal
import os
import sys

from buildkit_py.digest import blake3_hex, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern
    from typing import TypeAlias

    # The engine's flags, its code, how many groups there are, and their names.
    Code: TypeAlias = tuple[int, list[int], int, dict[str, int], tuple[str | None, ...]]

FORMAT = 1


class Expressions:
    """Compiled expressions. `directory` is a private one in which their code is kept ("": nowhere).

    `grammar` names what they belong to.
    """

    def __init__(self, directory: str = "", grammar: str = "") -> None:
        self._path = ""
        self._codes: dict[str, Code] = {}
        self._ready: dict[str, Pattern[str]] = {}
        self._is_kept = True
        if directory:
            key = key_of("compiled expressions", FORMAT, grammar, sys.version, int(_sre.MAGIC))
            self._path = os.path.join(directory, f"expressions-{key}")
            self._codes = _load(self._path)

    def compiled(self, expression: str) -> Pattern[str]:
        """An expression, ready to match."""
        ready = self._ready.get(expression)
        if ready is None:
            ready = self._ready[expression] = self._made(expression)
        return ready

    def _made(self, expression: str) -> Pattern[str]:
        code = self._codes.get(expression)
        if code is None and self._path:
            code = _code(expression)
            if code is not None:
                self._codes[expression] = code
                self._is_kept = False
        if code is not None:
            made: Pattern[str] = _sre.compile(expression, *code)
            return made
        import re

        return re.compile(expression)

    def keep(self) -> None:
        """Write down what was compiled, beside and then renamed; a full or read-only disk only costs the time again."""
        if self._is_kept:
            return
        self._is_kept = True
        body = marshal.dumps(self._codes, 4)
        temporary = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(blake3_hex(body).encode() + body)
            os.replace(temporary, self._path)
        except OSError:
            try:
                os.unlink(temporary)
            except OSError:
                pass


def _load(path: str) -> dict[str, Code]:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if blake3_hex(data[64:]).encode() == data[:64]:
            codes = marshal.loads(data[64:])
            return codes if isinstance(codes, dict) else {}
    except (OSError, EOFError, ValueError, TypeError):
        pass  # absent or damaged: it is made again
    return {}


def _code(expression: str) -> Code | None:
    """What `re.compile` hands to the engine; None where this Python's `re` is made otherwise."""
    try:
        from re import _compiler, _parser  # type: ignore[attr-defined]

        parsed = _parser.parse(expression, 0)
        state = parsed.state
        names: list[str | None] = [None] * state.groups
        for name, number in state.groupdict.items():
            names[number] = name
        code = [int(number) for number in _compiler._code(parsed, 0)]  # some are of a class with names
        return int(state.flags), code, state.groups - 1, dict(state.groupdict), tuple(names)
    except (ImportError, AttributeError):
        return None
