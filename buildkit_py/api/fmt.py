"""Buildfiles in canonical form: what would change, and changing it."""

from __future__ import annotations

from buildkit_py.api.check import read, shown_name
from buildkit_py.api.rewrite import rewrite
from buildkit_py.frontend.buildfile.canonical.file import canonical
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Formatted(Record):
    """`file` is a path or "-", `name` what places show; `before` and `after` are whole texts."""

    file: str
    name: str
    before: bytes
    after: bytes

    @property
    def changes(self) -> bool:
        """Whether the file is not in canonical form yet."""
        return self.before != self.after

    def diff(self) -> str:
        """A unified diff, "" where nothing changes."""
        from difflib import unified_diff

        before, after = (data.decode("utf-8", "surrogateescape").split("\n") for data in (self.before, self.after))
        lines = [*unified_diff(before, after, f"a/{self.name}", f"b/{self.name}", lineterm="")]
        return "".join(line + "\n" for line in lines)


def formatted(files: Iterable[str]) -> tuple[Formatted, ...]:
    """What each file is in canonical form. Writes nothing; raises what `check.read` raises, `BuildfileSyntaxError`."""
    found = []
    for file in files:
        data, name = read(file), shown_name(file)
        found.append(Formatted(file, name, data, canonical(data, name)))
    return tuple(found)


def write(changed: Formatted) -> None:
    """Put the canonical form into the file. Raises `ExportError`."""
    rewrite(changed.file, changed.after)
