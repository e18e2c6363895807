"""rpm's database: the headers of the packages that a root filesystem has, out of its SQLite form.

rpm keeps a table `Packages` of a number and a header for each package (rpm,
lib/backend/sqlite.cc). It comes out of an image, so nothing in it is trusted:
it is a copy that is read, only a plain table is asked, with a limit to what
the question may cost and to how long a value may be. The older forms, ndb
(`Packages.db`) and Berkeley DB (`Packages`), are not read.
"""

from __future__ import annotations

import os
import re
import tempfile

from buildkit_py.errors import ContextError
from buildkit_py.image.rpm_header import NAME, RpmHeader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.image.union import Union

# Where the two lines of distributions have it, without the leading slash.
DIRECTORIES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
SQLITE = "rpmdb.sqlite"
UNREAD = {"Packages.db": "in the form ndb", "Packages": "in the form of Berkeley DB"}

_LOG = "-wal"  # what was written last and not yet moved into the file itself
_LARGEST = 512 << 20
_LARGEST_HEADER = 64 << 20
# SQLite tells of itself after so many of its instructions, and is stopped when it told so often: some seconds.
_INSTRUCTIONS, _TOLD = 100_000, 10_000


def headers(union: Union, path: str) -> Iterator[RpmHeader]:
    """The headers in the database at a path of a filesystem, in the order of their installation.

    Raises `ValueError` for a file that is no such database or that is damaged, `ContextError` for one too large, or
    where there is no place for the copy.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pybuild-rpm-") as directory:
            copy = os.path.join(directory, SQLITE)
            for suffix in ("", _LOG):
                data = union.read_file(path + suffix, _LARGEST)
                if data:
                    with open(copy + suffix, "wb") as file:
                        file.write(data)
            yield from _headers(copy)
    except OSError as problem:
        raise ContextError(
            f"{path} cannot be copied to be read: {problem.strerror}", hint="TMPDIR says where there is room"
        ) from problem


def _headers(path: str) -> Iterator[RpmHeader]:
    try:
        import sqlite3
    except ImportError:
        raise ValueError("this Python has no SQLite") from None
    left = _TOLD

    def told() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    try:
        database = sqlite3.connect(path)
        try:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_HEADER)
            database.set_progress_handler(told, _INSTRUCTIONS)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            database.execute("PRAGMA query_only = ON")
            found = database.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'Packages'")
            made = found.fetchone()
            # A virtual table or a column that is computed would be a program of the image's.
            if made is None or not isinstance(made[0], str) or not _is_plain(made[0]):
                raise ValueError("it has no table of packages")
            for (blob,) in database.execute("SELECT blob FROM Packages ORDER BY hnum"):
                if not isinstance(blob, bytes):
                    raise ValueError("a package in it is no header")
                yield RpmHeader(blob)
        finally:
            database.close()
    except sqlite3.Error as problem:
        raise ValueError(str(problem)) from problem


def _is_plain(sql: str) -> bool:
    words = re.findall(r"\w+", sql.upper())
    return words[:2] == ["CREATE", "TABLE"] and not {"AS", "GENERATED"} & set(words)


def packages(union: Union, path: str, most: int) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, version and files of each package of a database; 0 for `most` characters of paths: no files.

    Raises as `headers`, and where there are more.
    """
    found = []
    files, left = bool(most), most
    for header in headers(union, path):
        name = header.text(NAME)
        if not name:
            raise ValueError("a package in it has no name")
        paths = header.files(left) if files else []
        left -= sum(map(len, paths))
        found.append((name, header.evr, tuple(paths)))
    return found
