"""Cases of ADD: archives are unpacked, everything else is copied."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import zstandard

from tests.peers.case import TIME, Case, File


def _tar(*members: tuple[str, bytes, int, int, str | bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """`members` are (name, type, mode, owner and group, content or link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, flag, mode, owner, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = flag, mode, owner, owner, TIME + 7
            data = content.encode() if isinstance(content, str) else content
            if flag in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = data.decode()
                data = b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


REG, DIR, SYM, LNK, FIFO = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
PLAIN = _tar(
    ("top", DIR, 0o750, 12, ""),
    ("top/f", REG, 0o640, 12, "f\n"),
    ("top/run", REG, 0o4755, 0, "r"),
    ("top/l", SYM, 0o777, 0, "f"),
    ("top/h", LNK, 0o640, 12, "top/f"),
    ("implicit/dir/g", REG, 0o644, 3, "g\n"),
)
ARCHIVES = {
    "p.tar": PLAIN,
    "p.tgz": gzip.compress(PLAIN, mtime=0),
    "p.tar.bz2": bz2.compress(PLAIN),
    "p.tar.xz": lzma.compress(PLAIN),
    "misnamed.txt": PLAIN,
    "liar.tar": "no archive\n",
    # Written out: what compresses says which system it runs on, and Python's versions say different things.
    "text.gz": bytes.fromhex("1f8b0800000000000203cbcfcba9542849ad28e1ca1f658db24659c3940500f68de005e8030000"),
    "f": "f\n",
    "d/in.tar": PLAIN,
    "d/f": "f\n",
}

CASES = (
    Case("add tar", "FROM busybox\nADD p.tar /x\nADD p.tar /y/\nADD misnamed.txt /z/\n", ARCHIVES),
    Case("add tgz", "FROM busybox\nADD p.tgz /x\n", ARCHIVES),
    Case("add tar.bz2", "FROM busybox\nADD p.tar.bz2 /x\n", ARCHIVES),
    Case("add tar.xz", "FROM busybox\nADD p.tar.xz /x\n", ARCHIVES),
    Case("add tar.zst", "FROM busybox\nADD p.zst /x/\n", {"p.zst": zstandard.ZstdCompressor().compress(PLAIN)}),
    Case("add what is no archive", "FROM busybox\nADD liar.tar /x/\nADD text.gz /y\nADD f /z/\n", ARCHIVES),
    Case("add several", "FROM busybox\nADD p.tar f /x/\n", ARCHIVES),
    Case("add wildcard", "FROM busybox\nADD p.t* /x/\nADD nothing* /y/\n", ARCHIVES),
    Case("add directory with an archive in it", "FROM busybox\nADD d /x\n", ARCHIVES),
    Case("add archive to the root", "FROM busybox\nADD p.tar /\n", ARCHIVES),
    Case(
        "add archive over what is there",
        "FROM busybox\nRUN mkdir -m 711 /x /x/top && echo o > /x/top/f && echo k > /x/top/keep\nADD p.tar /x\n",
        ARCHIVES,
    ),
    Case("add archive over a file", "FROM busybox\nRUN echo > /x\nADD p.tar /x\n", ARCHIVES),
    Case("add archive with a file over a directory", "FROM busybox\nRUN mkdir -p /x/top/f/g\nADD p.tar /x\n", ARCHIVES),
    Case(
        "add archive with a directory over a file",
        "FROM busybox\nRUN mkdir /x && echo > /x/top\nADD p.tar /x\n",
        ARCHIVES,
    ),
    Case(
        "add archive through a symlink",
        """
FROM busybox
RUN mkdir /real && ln -s real /l && mkdir /x && ln -s ../real /x/top
ADD p.tar /l
ADD p.tar /x
""",
        ARCHIVES,
    ),
    Case("add archive with an owner", "FROM busybox\nADD --chown=app p.tar /x\nADD --chown=5:6 f /y\n", ARCHIVES),
    Case("add archive with a mode", "FROM busybox\nADD --chmod=700 p.tar /x\nADD --chmod=700 f /y\n", ARCHIVES),
    Case(
        "add archive under WORKDIR and USER", "FROM busybox\nUSER app\nWORKDIR /w\nADD p.tar .\nADD f sub/\n", ARCHIVES
    ),
    Case("add empty archive", "FROM busybox\nADD e.tar /x\n", {"e.tar": _tar()}),
    Case("add empty file", "FROM busybox\nADD e.tar /x/\n", {"e.tar": ""}),
    Case(
        "add gnu tar",
        "FROM busybox\nADD g.tar /x\n",
        {"g.tar": _tar(("n" * 130, REG, 0o644, 0, "1"), ("l", SYM, 0o777, 0, "t" * 130), kind=tarfile.GNU_FORMAT)},
    ),
    Case(
        "add ustar",
        "FROM busybox\nADD g.tar /x\n",
        {"g.tar": _tar(("a/" + "n" * 90, REG, 0o644, 0, "1"), ("a", DIR, 0o700, 4, ""), kind=tarfile.USTAR_FORMAT)},
    ),
    Case("add archive with a pipe", "FROM busybox\nADD g.tar /x\n", {"g.tar": _tar(("p", FIFO, 0o622, 0, ""))}),
    Case(
        "add archive with a name twice",
        "FROM busybox\nADD g.tar /x\n",
        {
            "g.tar": _tar(
                ("f", REG, 0o644, 0, "1"), ("f", REG, 0o600, 1, "2"), ("d", DIR, 0o755, 0, ""), ("d", DIR, 0o700, 1, "")
            )
        },
    ),
    Case(
        "add archive that climbs",
        "FROM busybox\nADD g.tar /x/y\n",
        {"g.tar": _tar(("../../up", REG, 0o644, 0, "1"), ("./a/../b", REG, 0o644, 0, "2"))},
    ),
    Case(
        "add archive with absolute names",
        "FROM busybox\nADD g.tar /x\n",
        {"g.tar": _tar(("/abs/f", REG, 0o644, 0, "1"))},
    ),
    Case(
        "add archive that writes through its own symlink",
        "FROM busybox\nRUN mkdir -p /x/etc\nADD g.tar /x\n",
        {"g.tar": _tar(("l", SYM, 0o777, 0, "/etc"), ("l/owned", REG, 0o644, 0, "1"))},
    ),
    Case(
        "add archive with a whiteout name",
        "FROM busybox\nADD g.tar /x\n",
        {"g.tar": _tar((".wh.f", REG, 0o644, 0, "1"), ("g", REG, 0o644, 0, "1"))},
    ),
    Case("add cut archive", "FROM busybox\nADD g.tar /x/\n", {"g.tar": PLAIN[:1700]}),
    Case("add cut tgz", "FROM busybox\nADD g.tgz /x/\n", {"g.tgz": gzip.compress(PLAIN, mtime=0)[:100]}),
    Case("add from a stage", "FROM busybox AS s\nFROM busybox\nADD --from=s /etc/passwd /x\n"),
    Case("add heredoc", "FROM busybox\nADD <<EOF /x/\nhi\nEOF\n"),
    Case("add archive that is not to be unpacked", "FROM busybox\nADD --unpack=false p.tar /x/\n", ARCHIVES),
    Case("add mode of a file", "FROM busybox\nADD f /x\n", {"f": File("f", 0o4711)}),
)
