"""Reading tar: members one after the other from a stream, nothing trusted, nothing written.

Formats: v7, ustar, PAX (POSIX.1-2001, as "x" and "g" headers) and GNU (long
names "L" and "K", base-256 numbers). GNU's sparse formats are refused by
name: no layer writer makes them, and their maps can claim sizes without end.
"""

from __future__ import annotations

from zlib import adler32

from buildkit_py.errors import SourceError
from buildkit_py.image.limits import DEFAULT, Limits
from buildkit_py.named_tuple import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    # A plain name; mode, uid, gid; time in nanoseconds; bytes.
    Sibling: TypeAlias = tuple[str, int, int, int, int, bytes]

REGULAR, LINK, SYMBOLIC, CHARACTER, BLOCK_DEVICE, DIRECTORY, PIPE = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

# `name` and `link` are the bytes as written; `time` is in nanoseconds; `xattrs` a tuple of (name, value).
Member = namedtuple(
    "Member", ("name", "flag", "mode", "uid", "gid", "size", "time", "link", "major", "minor", "xattrs")
)

_member = tuple.__new__
_NO_XATTRS: tuple[tuple[str, bytes], ...] = ()
_XATTR = b"SCHILY.xattr."
_KNOWN = frozenset((REGULAR, LINK, SYMBOLIC, CHARACTER, BLOCK_DEVICE, DIRECTORY, PIPE))
_JOINED = 1 << 17
_MAX_ID = (1 << 32) - 2  # the next one means "no change" to chown
# Far ahead, and what no 64-bit time_t in nanoseconds overflows at.
_MAX_SECONDS = 1 << 33


class TarReader:
    """The members of a tar. For each, take `data` or `rest` before the next one; what is not taken is skipped."""

    def __init__(self, pieces: Iterable[bytes], limits: Limits = DEFAULT) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._limits = limits
        self._buffer = b""
        self._at = 0
        self._waiting = b""  # a piece of which only the beginning is in the buffer, behind so many bytes
        self._lead = 0
        self._left = 0  # bytes of the current member not taken yet
        self._skip = 0  # its padding
        self._numbers: dict[bytes, tuple[int, int, int, int]] = {}
        self._tails: dict[bytes, tuple[bytes, bytes, bytes, int, int, int]] = {}
        self._global: dict[bytes, bytes] = {}
        # Of the last ordinary file, what a sibling's header has like it: (owner, ending), mode, uid, gid; and what the
        # checksum is more than the Adler-32 of all before it.
        self._alike: tuple[bytes, bytes, int, int, int, int] | None = None
        self._count = 0
        self.ended = False  # whether the end mark was seen

    def __iter__(self) -> Iterator[Member]:
        """Raises `SourceError` for what is damaged, truncated or over a limit."""
        while True:
            member = self._plain() or self._next()
            if member is None:
                return
            self._counted(1)
            yield member

    def _counted(self, members: int) -> None:
        self._count += members
        if self._count > self._limits.entries:
            raise SourceError(f"an archive of more than {self._limits.entries} entries")

    def siblings(self, prefix: bytes, most: int, files: int, size: int) -> list[Sibling]:
        """The next members, taken whole, as long as they are ordinary files like the last one.

        Each is called `prefix` and a plain name, which does not begin with a dot,
        and has `most` bytes or fewer. No more than `files`, and none after those
        that have `size` bytes together. With any other member, iterating goes on.
        """
        taken: list[Sibling] = []
        if self._alike is None:
            return taken
        owner, ending, mode, uid, gid, base = self._alike
        buffer = self._buffer
        at = self._at + self._left + self._skip
        cut, length = len(prefix), len(buffer)
        end = total = seconds = 0
        time = b""
        # Locals and few calls: this runs once a file, and 50,000 files are an ordinary layer.
        while total < size and len(taken) < files and buffer.startswith(ending, at + 156):
            head = buffer[at : at + 148]
            stop = head.find(0, cut, 100)
            if stop < 0:
                stop = 100
            name = head[cut:stop]
            # One byte is looked for as a number: as bytes it takes five times as long.
            if (
                stop <= cut
                or head[100:124] != owner
                or not head.startswith(prefix)
                or head[cut] == 0x2E
                or 0x2F in name
                or head[124] & 0x80
            ):
                break
            try:
                count = int(head[124:135], 8)
                if head[136:] != time:
                    # Files that lie beside each other mostly have one time.
                    seconds = int(head[136:147], 8)
                    time = head[136:]
                check = int(buffer[at + 148 : at + 154], 8)
            except ValueError:
                break
            data = at + 512
            if (
                base + (adler32(head) & 0xFFFF) != check
                or not 0 <= count <= most
                or seconds < 0
                or data + count > length
            ):
                break
            end = data + count
            taken.append((name.decode("utf-8", "surrogateescape"), mode, uid, gid, seconds * 10**9, buffer[data:end]))
            total += count
            at = end - count % -512
        if taken:
            self._at = end
            self._left = 0
            self._skip = at - end
            self._counted(len(taken))
        return taken

    def _plain(self) -> Member | None:
        """The next member where it is an ordinary file whose header is like that of others; else None.

        What `_next` would say, in a third of the time: most members of a layer
        differ from those around them in name, size and time only.
        """
        buffer = self._buffer
        at = self._at + self._left + self._skip
        block = buffer[at : at + 512]
        tail = self._tails.get(block[156:])
        numbers = self._numbers.get(block[100:124])
        if tail is None or numbers is None or self._global or tail[0] != REGULAR or tail[2] or block[124] & 0x80:
            return None
        try:
            size = int(block[124:135], 8)
            seconds = int(block[136:147], 8)
            check = int(block[148:154], 8)
        except ValueError:
            return None
        mode, uid, gid, owner_sum = numbers
        name = block[:100]
        total = owner_sum + tail[5] + (adler32(name) & 0xFFFF) + (adler32(block[124:148]) & 0xFFFF) + 254
        name = name.rstrip(b"\0")
        if total != check or not name or 0 in name or name[-1] == 0x2F or size < 0 or seconds < 0:
            return None
        self._at = at + 512
        self._left = size
        self._skip = -size % 512
        self._alike = block[100:124], block[156:], mode, uid, gid, tail[5] + 255
        return _member(Member, (name, REGULAR, mode, uid, gid, size, seconds * 10**9, b"", 0, 0, _NO_XATTRS))

    # -- bytes ---------------------------------------------------------------

    def _more(self) -> bool:
        """Have more in the buffer, behind what is left of it."""
        left = self._buffer[self._at :]
        piece, self._waiting = self._waiting, b""
        if piece:
            # Its beginning stands in the buffer already, behind `_lead` bytes of the piece before.
            if self._at >= self._lead:
                self._buffer, self._at = piece, self._at - self._lead
                return True
            left = left[: self._lead - self._at]
        else:
            piece = next(self._pieces, b"")
            if not piece:
                return False
            if left and len(piece) > 2 * _JOINED:
                # A member that stands in two pieces is mostly small: no need to copy all of the second one.
                self._waiting, self._lead = piece, len(left)
                piece = piece[:_JOINED]
        self._buffer = left + piece
        self._at = 0
        return True

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            if not self._more():
                raise SourceError("the archive is truncated")
        start = self._at
        self._at = start + size
        return self._buffer[start : start + size]

    def _drop(self, size: int) -> None:
        while size > len(self._buffer) - self._at:
            size -= len(self._buffer) - self._at
            self._at = len(self._buffer)
            if not self._more():
                raise SourceError("the archive is truncated")
        self._at += size

    def rest(self) -> Iterator[memoryview | bytes]:
        """The current member's data, in pieces."""
        while self._left:
            have = len(self._buffer) - self._at
            if not have:
                if not self._more():
                    raise SourceError("the archive is truncated")
                continue
            take = min(have, self._left)
            start = self._at
            self._at += take
            self._left -= take
            yield memoryview(self._buffer)[start : start + take]

    def data(self) -> bytes:
        """The current member's data in one piece; only for members known to be small."""
        size = self._left
        start = self._at
        if len(self._buffer) - start < size:
            piece = self._exactly(size)
        else:
            self._at = start + size
            piece = self._buffer[start : start + size]
        self._left = 0
        return piece

    def drain(self) -> None:
        """Read on to the end of the stream, so that whoever hashes it sees all of it."""
        self._buffer = self._waiting = b""
        self._at = 0
        for _ in self._pieces:
            pass

    # -- headers -------------------------------------------------------------

    def _next(self) -> Member | None:
        """The next member with everything that its extension headers say, None at the end."""
        name = link = b""
        records: dict[bytes, bytes] = {}
        extended = 0
        while True:
            if self._left or self._skip:
                self._drop(self._left + self._skip)
                self._left = self._skip = 0
            block = self._block()
            if block is None:
                if extended:
                    raise SourceError("the archive ends in an extended header")
                return None
            first = self._parse(block)
            flag, size = first.flag, first.size
            if flag in b"xgLK":
                extended += size + 512
                # Counted together: a million small headers in a row are one large one.
                if extended > self._limits.header:
                    raise SourceError(f"an extended header of more than {self._limits.header} bytes")
                body = self._exactly(size)
                self._drop(-size % 512)
                if flag == b"L":
                    name = body.rstrip(b"\0")
                elif flag == b"K":
                    link = body.rstrip(b"\0")
                elif flag == b"x":
                    records.update(_pax_records(body))
                else:
                    self._global.update(_pax_records(body))
                    self._alike = None  # what follows is like no file before
                continue
            member = (
                first if not (name or link or records or self._global) else self._extend(first, name, link, records)
            )
            return self._begin(member)

    def _begin(self, member: Member) -> Member:
        if member.flag == REGULAR and member.name.endswith(b"/"):
            # As v7 tar said it. Only the whole name counts: cut to 100 bytes, any may end so.
            member = member._replace(flag=DIRECTORY)
        size = member.size if member.flag == REGULAR else 0
        if member.flag not in _KNOWN:
            if member.flag == b"S":
                raise SourceError(f"{_shown(member.name)} is in GNU's sparse format, which is not supported")
            raise SourceError(f"{_shown(member.name)} has the unknown type {_shown(member.flag)!r}")
        if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
            raise SourceError(f"{_shown(member.name)} has the owner {member.uid}:{member.gid}")
        if size > self._limits.bytes:
            raise SourceError(f"{_shown(member.name)} claims {size} bytes")
        self._left = size
        self._skip = -size % 512
        return member if size == member.size else member._replace(size=0)

    def _block(self) -> bytes | None:
        """The next header block; None at the end mark, or at the end of the stream between two members."""
        if self._at == len(self._buffer) and not self._more():
            return None
        block = self._exactly(512)
        if block[0] == 0 and not block.strip(b"\0"):
            self.ended = True
            return None
        return block

    def _parse(self, block: bytes) -> Member:
        """What one header block says, checked."""
        owner = block[100:124]
        numbers = self._numbers.get(owner)
        if numbers is None:
            numbers = (_number(owner[:8]) & 0o7777, _number(owner[8:16]), _number(owner[16:24]), _sum(owner))
            if len(self._numbers) < 1000:
                self._numbers[owner] = numbers
        mode, uid, gid, owner_sum = numbers
        ending = block[156:]
        tail = self._tails.get(ending)
        if tail is None:
            tail = _read_tail(ending)
            # What the files of a layer share; a link has one of its own.
            if not tail[1] and len(self._tails) < 1000:
                self._tails[ending] = tail
        flag, link, prefix, major, minor, tail_sum = tail
        times = block[124:148]
        # Adler-32 counts the sum of its bytes in its low half (plus 1), in C; no piece is longer than 256 bytes.
        total = owner_sum + tail_sum + (adler32(block[:100]) & 0xFFFF) + (adler32(times) & 0xFFFF) + 254
        if total != _number(block[148:156]):
            raise SourceError("the archive is damaged: a header's checksum is wrong")
        name = block[:100]
        end = name.find(b"\0")
        if end >= 0:
            name = name[:end]
        if prefix:
            name = prefix + b"/" + name
        size = _number(times[:12])
        if size < 0:
            raise SourceError(f"{_shown(name)} has a negative size")
        time = min(max(_number(times[12:]), -_MAX_SECONDS), _MAX_SECONDS) * 10**9
        return Member(name, flag, mode, uid, gid, size, time, link, major, minor, _NO_XATTRS)

    def _extend(self, member: Member, name: bytes, link: bytes, records: dict[bytes, bytes]) -> Member:
        """A member with its GNU long names and PAX records in force."""
        if self._global:
            records = {**self._global, **records}
        for key in records:
            if key.startswith(b"GNU.sparse."):
                raise SourceError(f"{_shown(member.name)} is in GNU's sparse format, which is not supported")
        changes: dict[str, object] = {}
        name = records.get(b"path", name)
        link = records.get(b"linkpath", link)
        if b"\0" in name or b"\0" in link:
            raise SourceError("a name in the archive has a NUL in it")
        if name:
            changes["name"] = name
        if link:
            changes["link"] = link
        for field in ("uid", "gid", "size"):
            text = records.get(field.encode())
            if text:
                if not text.isdigit() or len(text) > 20:
                    raise SourceError(f"{_shown(member.name)} has the {field} {_shown(text[:40])}")
                changes[field] = int(text)
        if text := records.get(b"mtime"):
            changes["time"] = _pax_time(text)
        xattrs = tuple(
            (key[len(_XATTR) :].decode("utf-8", "surrogateescape"), value)
            for key, value in sorted(records.items())
            if key.startswith(_XATTR)
        )
        if xattrs:
            changes["xattrs"] = xattrs
        return member._replace(**changes)


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")


def _sum(piece: bytes) -> int:
    return (adler32(piece) & 0xFFFF) - 1


def _number(field: bytes) -> int:
    """An octal or base-256 number of a header."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        return value
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise SourceError("the archive is damaged: a header's number is none")
    return int(text, 8)


def _read_tail(ending: bytes) -> tuple[bytes, bytes, bytes, int, int, int]:
    """Type, link, prefix, device numbers and byte sum of what follows the checksum."""
    flag = ending[:1]
    if flag in (b"\0", b"7"):
        flag = REGULAR
    link = ending[1:101].partition(b"\0")[0]
    magic = ending[101:109]
    prefix = b""
    major = minor = 0
    if magic[:5] == b"ustar":
        if flag in (CHARACTER, BLOCK_DEVICE):
            major, minor = _number(ending[173:181]), _number(ending[181:189])
        # GNU's own format ("ustar  ") has times there, star's ("tar\0" at the end) too in its last 24 bytes.
        if magic[:6] == b"ustar\0":
            room = ending[189:320] if ending[352:356] == b"tar\0" else ending[189:344]
            prefix = room.partition(b"\0")[0]
    return flag, link, prefix, major, minor, sum(ending)


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    """The records "length key=value newline" of a PAX header."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 21)
        digits = body[at:space] if space > 0 else b""
        if not digits.isdigit():
            if not body[at:].strip(b"\0"):
                break
            raise SourceError("the archive is damaged: an extended header's record has no length")
        end = at + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or not equals or body[end - 1 : end] != b"\n":
            raise SourceError("the archive is damaged: an extended header's record is cut short")
        records[key] = value
        at = end
    return records


def _pax_time(text: bytes) -> int:
    """A PAX time in nanoseconds."""
    whole, _, part = text.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    digits = whole.lstrip(b"-")
    if not digits.isdigit() or len(digits) > 20 or (part and not part.isdigit()):
        raise SourceError(f"the archive has the time {_shown(text[:40])}")
    seconds = min(int(digits), _MAX_SECONDS)
    return sign * (seconds * 10**9 + int((part + b"000000000")[:9]))
