"""An RPM header: what rpm knows of one package, as a list of tagged values; read with every bound checked.

The form is that of "RPM V4 Package format", section "Header format" (rpm.org),
as rpm keeps it in its database, without the eight bytes of magic before it:

    index length, data length           two big-endian 32-bit numbers
    (tag, type, offset, count) …        16 bytes an entry
    data                                strings end with NUL, numbers are big-endian

The limits are rpm's own (`hdrchkTags`, `hdrchkData` of lib/header.cc).
"""

from __future__ import annotations

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
FILE_STATES, DIR_INDEXES, BASE_NAMES, DIR_NAMES = 1029, 1116, 1117, 1118

_CHAR, _INT32, _STRING, _STRING_ARRAY = 1, 4, 6, 8
_INTRO, _ENTRY = 8, 16
_MOST_TAGS = 0xFFFF
_MOST_DATA = 0x0FFFFFFF
LONGEST_PATH = 4095  # PATH_MAX (limits.h), without the NUL at its end
# rpm's RPMFILE_STATE_NORMAL and RPMFILE_STATE_REPLACED: the others say that the file was not installed.
_INSTALLED = (0, 1)


class RpmHeader:
    """One header. Raises `ValueError` for bytes that are none."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _INTRO:
            raise ValueError("the header is shorter than its lengths")
        count, length = _number(data, 0), _number(data, 4)
        if count > _MOST_TAGS or length > _MOST_DATA or _INTRO + _ENTRY * count + length != len(data):
            raise ValueError("the header has other lengths than it says")
        self._data = data
        self._at = _INTRO + _ENTRY * count  # where the values begin
        self._index: dict[int, tuple[int, int, int]] = {}
        for place in range(_INTRO, self._at, _ENTRY):
            entry = (_number(data, place + 4), _number(data, place + 8), _number(data, place + 12))
            self._index.setdefault(_number(data, place), entry)

    def text(self, tag: int) -> str:
        """The value of a tag that is a string, "" where there is none. Raises `ValueError`, as all of these do."""
        texts = self._strings(tag, _STRING, 1)
        return texts[0] if texts else ""

    def texts(self, tag: int) -> list[str]:
        """The values of a tag that is a list of strings; empty where there is none."""
        return self._strings(tag, _STRING_ARRAY, len(self._data))

    def numbers(self, tag: int) -> list[int]:
        """The values of a tag that are 32-bit numbers; empty where there is none."""
        start, count = self._found(tag, _INT32)
        if 4 * count > len(self._data) - start:
            raise ValueError(f"the values of tag {tag} go on behind the header's end")
        return [_number(self._data, start + 4 * place) for place in range(count)]

    def bytes(self, tag: int) -> bytes:
        """The values of a tag that are single bytes; empty where there is none."""
        start, count = self._found(tag, _CHAR)
        if count > len(self._data) - start:
            raise ValueError(f"the values of tag {tag} go on behind the header's end")
        return self._data[start : start + count]

    @property
    def evr(self) -> str:
        """`EPOCH:VERSION-RELEASE`, as rpm calls a version; the epoch only where there is one."""
        epoch = self.numbers(EPOCH)
        return (f"{epoch[0]}:" if epoch else "") + f"{self.text(VERSION)}-{self.text(RELEASE)}"

    def files(self, most: int) -> list[str]:
        """The paths that the package installed, without the leading slash and without those that none can be.

        Raises `ValueError` where they have more than `most` characters together.
        """
        names, directories = self.texts(BASE_NAMES), self.texts(DIR_NAMES)
        places, states = self.numbers(DIR_INDEXES), self.bytes(FILE_STATES)
        if len(places) != len(names) or (states and len(states) != len(names)):
            raise ValueError("the lists of files in the header are not of one length")
        if places and max(places) >= len(directories):
            raise ValueError("a file of the header is in a directory that is not listed")
        found: list[str] = []
        for number, (name, place) in enumerate(zip(names, places, strict=True)):
            size = len(directories[place]) + len(name)
            # A header says a directory once, and may say a long one.
            if size <= LONGEST_PATH and (not states or states[number] in _INSTALLED):
                most -= size
                if most < 0:
                    raise ValueError("its packages have more files than a system can have")
                found.append((directories[place] + name).lstrip("/"))
        return found

    def _found(self, tag: int, kind: int) -> tuple[int, int]:
        """Where the values of a tag begin, and how many there are."""
        if tag not in self._index:
            return self._at, 0
        found, offset, count = self._index[tag]
        if found != kind:
            raise ValueError(f"tag {tag} has values of type {found} and not {kind}")
        if offset > len(self._data) - self._at:
            raise ValueError(f"the values of tag {tag} begin behind the header's end")
        return self._at + offset, count

    def _strings(self, tag: int, kind: int, most: int) -> list[str]:
        start, count = self._found(tag, kind)
        # Each string takes a byte at least, so a count that is a lie ends at the end of the data.
        texts: list[str] = []
        for _ in range(min(count, most)):
            end = self._data.find(b"\0", start)
            if end < 0:
                raise ValueError(f"a string of tag {tag} does not end")
            texts.append(self._data[start:end].decode("utf-8", "surrogateescape"))
            start = end + 1
        return texts


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
