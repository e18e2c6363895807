"""A mask: what a program prints, with `***` for each value of a secret, however its output is cut into pieces."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.executor.secret_forms import Finder

HIDDEN = b"***"
# A line that happens to end as a secret's base64 begins is shown once nothing follows it.
_BY_CHANCE = 4


def masked_text(finder: Finder, text: str) -> str:
    """A text with its values masked."""
    mask = Mask(finder)
    data = text.encode("utf-8", "surrogateescape")
    return (mask.feed(data) + mask.end()).decode("utf-8", "surrogateescape")


class Mask:
    """Of one stream. `hidden` are the ids of the secrets that were in it."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._held = b""
        self.hidden: set[str] = set()

    def feed(self, piece: bytes) -> bytes:
        """What can be shown of the stream so far; the rest may be the beginning of a value."""
        data = self._held + piece
        shown, rest = self._masked(data)
        keep = self._finder.open_end(rest)
        self._held = rest[keep:]
        return shown + rest[:keep]

    @property
    def waits(self) -> bool:
        """Whether something is held back that `lull` would give."""
        return self._held.endswith(b"\n") and len(self._held.strip()) < _BY_CHANCE

    def lull(self) -> bytes:
        """What is held back of a line that is over, when nothing more has come for a while."""
        return self.end() if self.waits else b""

    def end(self) -> bytes:
        """What was held back; the stream has ended."""
        held, self._held = self._held, b""
        return held

    def _masked(self, data: bytes) -> tuple[bytes, bytes]:
        """The bytes up to the end of the last value, masked, and those behind it."""
        shown = bytearray()
        at = 0
        for found in self._finder.all(data):
            self.hidden.add(found.form.secret)
            if found.start >= at:
                shown += data[at : found.start] + HIDDEN
            at = max(at, found.end)
        return bytes(shown), data[at:]
