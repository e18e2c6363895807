"""Reading back what a content digest was made of."""

from __future__ import annotations

import pytest
from blake3 import blake3

from buildkit_py.image.content import content_digest
from buildkit_py.image.entry import CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.listing import listed

ENTRIES = [
    Entry("a", FILE, 0o644, 1, 2, 3, 0, data=b"abc"),
    Entry("b", HARDLINK, 0o644, 1, 2, 0, 0, "a"),
    Entry("d", DIR, 0o755),
    Entry("d/é:7;f", FILE, 0o4755, 0, 0, 0, 0, data=b"", xattrs=(("user.x", b"1;2:3"), ("user.y", b""))),
    Entry("dev", CHAR, 0o600, rdev=0x103),
    Entry("gone", WHITEOUT, 0),
    Entry("link", SYMLINK, 0o777, target="d/x"),
    Entry("pipe", FIFO, 0o600),
]


def test_everything_is_read_back() -> None:
    keep: list[bytes] = []
    digest = content_digest(ENTRIES, keep)
    found = listed(b"".join(keep))
    assert list(found) == [entry.path for entry in ENTRIES]
    assert found["a"].body == blake3(b"abc").digest()
    assert (found["a"].uid, found["a"].gid) == (1, 2)
    assert found["b"].kind == "hard link"
    assert found["b"].body == b"a"
    assert found["d/é:7;f"].mode == 0o4755
    assert found["d/é:7;f"].xattrs == ((b"user.x", b"1;2:3"), (b"user.y", b""))
    assert found["link"].body == b"d/x"
    assert found["dev"].body == b"259"
    assert content_digest(ENTRIES) == digest, "keeping what is hashed must not change the hash"


def test_what_is_no_listing_is_refused() -> None:
    keep: list[bytes] = []
    content_digest(ENTRIES, keep)
    whole = b"".join(keep)
    for cut in range(1, len(whole)):
        try:
            got = listed(whole[:cut])
        except ValueError:
            continue
        assert len(got) < len(ENTRIES)
    with pytest.raises(ValueError, match="no such kind"):
        listed(b"x1:a")
