"""Tars that no honest tool makes: members written byte by byte."""

from __future__ import annotations

from buildkit_py.image.tar_header import END, PADDING, pax

REGULAR, LINK, SYMBOLIC, CHARACTER, BLOCK, DIRECTORY, PIPE = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def member(
    name: bytes,
    flag: bytes = REGULAR,
    data: bytes = b"",
    *,
    link: bytes = b"",
    mode: int | None = None,
    uid: int = 0,
    gid: int = 0,
    size: bytes | None = None,
    time: bytes = b"%011o\0" % 7,
    device: tuple[int, int] = (0, 0),
    magic: bytes = b"ustar\x0000",
    records: list[tuple[bytes, bytes]] | None = None,
) -> bytes:
    """One member with any header at all (but a right checksum)."""
    if mode is None:
        mode = 0o755 if flag == DIRECTORY else 0o644
    head = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0%07o\0%07o\0" % (mode, uid, gid),
            size if size is not None else b"%011o\0" % len(data),
            time,
            b" " * 8,
            flag,
            link[:100].ljust(100, b"\0"),
            magic,
            bytes(64),
            b"%07o\0%07o\0" % device,
            bytes(167),
        )
    )
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    front = pax(records, name) if records else b""
    return front + head + data + PADDING[len(data) % 512]


def tar(*members: bytes) -> bytes:
    """Members and the end mark."""
    return b"".join(members) + END


def path_record(name: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"path", name)]
