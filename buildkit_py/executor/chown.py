"""`--chown=user[:group]`: who the files of a COPY belong to.

As BuildKit's `client/llb/fileop.go` and `ops/user_linux.go`: a number is
itself, and its group the same number, and `root` is 0 in every filesystem; a
name is looked up in the /etc/passwd of the filesystem that is copied into, and
brings its primary group; a group's name is looked up in /etc/group. The files
are read by hand: what an image says of its users is no business of this
machine's name service.
"""

from __future__ import annotations

from buildkit_py.errors import BuildfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.union import Union

_LIMIT = 4 << 20
_MAX_ID = (1 << 32) - 2


def find_owner(owner: str, base: Union | None) -> tuple[int, int]:
    """uid and gid of an owner as written. `base` None: an empty filesystem, in which only numbers are known.

    Raises `BuildfileError` for a name that is not there or a number out of range.
    """
    user, colon, group = owner.partition(":")
    uid, gid = _written(user), None
    if uid is not None:
        gid = uid
    else:
        fields = _find(base, "/etc/passwd", user, 4)
        if fields is None:
            raise _unknown("user", user, base)
        uid, gid = _number(fields[2]), _number(fields[3])
    if colon:
        gid = _written(group)
        if gid is None:
            fields = _find(base, "/etc/group", group, 3)
            if fields is None:
                raise _unknown("group", group, base)
            gid = _number(fields[2])
    if uid is None or gid is None:
        raise BuildfileError(f"the owner {owner!r} has no number in the filesystem's /etc/passwd or /etc/group")
    return uid, gid


def _written(text: str) -> int | None:
    """The number that an owner is, as written; None for a name that has to be looked up."""
    return 0 if text == "root" else _number(text)


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _MAX_ID:
        raise BuildfileError(f"the owner's number {text[:40]} is out of range (0 to {_MAX_ID})")
    return int(text)


def _find(base: Union | None, path: str, name: str, fields: int) -> list[str] | None:
    """The fields of the line of that name, if it has at least so many."""
    data = base.read_file(path, _LIMIT) if base is not None and name else None
    if data is None:
        return None
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        found = line.strip().split(":")
        if found[0] == name and len(found) >= fields:
            return found
    return None


def _unknown(what: str, name: str, base: Union | None) -> BuildfileError:
    place = "/etc/passwd" if what == "user" else "/etc/group"
    if base is None:
        hint = "this copy has no base filesystem (--link, or FROM scratch), so write the owner as a number"
    else:
        hint = f"{place} of the filesystem that is copied into has no such {what}"
    return BuildfileError(f"unable to find {what} {name}", hint=hint)
