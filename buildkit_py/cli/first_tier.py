"""The first tier: answers a build with nothing to do from what the last one wrote down, importing almost nothing.

A build that went well leaves a memo: every file it looked at with its stat
values, the scans of its contexts, what of the store its answer stands on, and
the answer. If all of that still holds, so does the answer, because the full
path is a function of just these things; if anything differs, or could
differ without showing, the full path decides. An interpreter that starts
takes 8 ms, so this file imports what the interpreter has already.
"""

from __future__ import annotations

import marshal
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FORMAT = "pybuild memo 7"
VERSION = "0.1.0"
# The full path tells the store what is in use, so it has to run now and then.
_BELIEVED = 12 * 3600
# They change from call to call and decide nothing.
_VOLATILE = frozenset((b"_", b"OLDPWD", b"PWD", b"SHLVL", b"COLUMNS", b"LINES"))


def try_answer(argv: Sequence[str]) -> int | None:
    """The exit code, if the command line is a build whose memo holds; None: take the full path."""
    if not argv:
        return None
    try:
        path = memo_path(argv)
    except FileNotFoundError:  # the working directory was removed
        return None
    memo = _read(path)
    if memo is None or not _reads_the_same(memo):
        return None
    if memo["answers"] and _is_up_to_date(memo):
        # What was odd about the Buildfile is said again, in the colours that a terminal gets.
        return _answer(memo["out"], memo["err"][sys.stderr.isatty()])
    # Only what the steps take changed, so the graph need not be made again.
    from buildkit_py.cli import own_modules

    own_modules.install()
    from buildkit_py.cli import guard, rebuild

    guard.leave(guard.guarded(lambda _: rebuild.rebuild(memo, path), list(argv)))


def _answer(out: str, err: str) -> int | None:
    try:
        if err:
            sys.stderr.write(err)
        if out:
            sys.stdout.write(out)
            sys.stdout.flush()
    except OSError:
        return None
    return 0


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
        from buildkit_py.store.checksum import unchecked

        memo: Any = marshal.loads(unchecked(data) or b"")
    except (OSError, ValueError, EOFError, TypeError):  # the last three: damaged, or written by another Python
        return None
    return memo if type(memo) is dict and memo.get("format") == FORMAT else None


def memo_path(argv: Sequence[str]) -> str:
    """Where the memo of a command line is: it is named by everything that the command line stands for."""
    from _blake2 import blake2b

    env = posix.environ
    home = env.get(b"PYBUILD_HOME")
    if not home:
        cache = env.get(b"XDG_CACHE_HOME") or env.get(b"HOME", b"") + b"/.cache"
        home = cache + b"/pybuild"
    whole = (
        FORMAT,
        VERSION,
        sys.version,
        list(argv),
        posix.getcwd(),
        posix.getuid(),
        sorted((name, value) for name, value in env.items() if name not in _VOLATILE),
    )
    name = blake2b(marshal.dumps(whole, 2), digest_size=16).hexdigest()
    return f"{home.decode('utf-8', 'surrogateescape')}/memo/{name}"


def _reads_the_same(memo: dict[str, Any]) -> bool:
    """Whether the Buildfile, and all else that decided the graph and its names, is as it was.

    `names` are small files whose text counts: what a tag stands for, and that
    the machine was not restarted since, for then the store may have lost what
    was never synced.
    """
    stat = posix.stat
    now = time.time()
    if now - memo["time"] > _BELIEVED:
        return False
    if memo["until"] is not None and not memo["time"] <= now < memo["until"]:  # a clock set back tells no age
        return False
    for path, wanted in memo["files"].items():
        try:
            seen = stat(path)
        except OSError:
            if wanted is not None:
                return False
            continue
        if (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size) != wanted:
            return False
    try:
        for path, text in memo["names"].items():
            with open(path, "rb") as file:
                if file.read(4096) != text:
                    return False
    except OSError:
        return False
    return True


def _is_up_to_date(memo: dict[str, Any]) -> bool:
    """Whether nothing that a step takes changed, and the result is still there."""
    lstat = posix.lstat
    try:
        for path, wanted in memo["places"].items():
            seen = posix.stat(path)
            if (seen.st_dev, seen.st_ino) != wanted:
                return False
        for path, size in memo["held"].items():
            if size is not None and lstat(path).st_size != size:
                return False
            if size is None:
                lstat(path)
        if memo["scans"]:
            from buildkit_py.store.scan import Scan

            for path, identity in memo["scans"]:
                with open(path, "rb") as file:
                    if file_identity(posix.fstat(file.fileno())) != identity:
                        return False
                    scan = Scan.load(file.read())
                if scan is None or not scan.holds():
                    return False
    except OSError:
        return False
    return True


def file_identity(seen: Any) -> tuple[int, int, int]:
    # Two builds may write a scan of one name; the memo must be read with its own.
    return (seen.st_ino, seen.st_ctime_ns, seen.st_size)
