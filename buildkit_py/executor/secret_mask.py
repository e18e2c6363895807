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
        self._covered = 0  # so many bytes of what is held are of a value that `***` was shown for
        self.hidden: set[str] = set()

    def feed(self, piece: bytes) -> bytes:
        """What can be shown of the stream so far; the rest may be the beginning of a value.

        Also where that is within another value, or begins as a shorter one that is whole.
        """
        data = self._held + piece
        return self._masked(data, self._finder.open_end(data))

    @property
    def waits(self) -> bool:
        """Whether something is held back that `lull` would give."""
        return self._held.endswith(b"\n") and len(self._held.strip()) < _BY_CHANCE

    def lull(self) -> bytes:
        """What is held back of a line that is over, when nothing more has come for a while."""
        return self.end() if self.waits else b""

    def end(self) -> bytes:
        """What was held back; the stream has ended."""
        return self._masked(self._held, len(self._held))

    def _masked(self, data: bytes, end: int) -> bytes:
        """The bytes up to a place, masked, with all of a value that begins before it; those behind it are held."""
        shown = bytearray()
        at = self._covered
        for found in self._finder.all(data):
            if found.start >= end:
                break
            self.hidden.add(found.form.secret)
            if found.start >= at:
                shown += data[at : found.start] + HIDDEN
            at = max(at, found.end)
        shown += data[at:end]
        self._held, self._covered = data[end:], max(0, at - end)
        return bytes(shown)
