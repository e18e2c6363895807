"""What one `-o` asks for: the kind of output, where it goes, and how.

-o DIR                      type=local,dest=DIR
-o -                        type=tar,dest=-
-o type=oci,dest=x.tar,…    a line of CSV, as buildx reads it
"""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError
from buildkit_py.image import reference
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

COMPRESSIONS = ("zstd", "gzip", "uncompressed")
_LEVELS = {"gzip": 9, "zstd": 22, "uncompressed": 0}

_FILESYSTEM = frozenset(("dest", "mode"))
_IMAGE = frozenset(("name", "compression", "compression-level", "force-compression", "oci-mediatypes"))
_ATTRIBUTES = {
    "local": _FILESYSTEM,
    "tar": frozenset(("dest",)),
    "oci": _IMAGE | {"dest", "tar"},
    "docker": _IMAGE | {"dest", "tar"},
    "image": _IMAGE | {"push"},
    "registry": _IMAGE | {"push"},
    "cacheonly": frozenset[str](),
}


class Output(Record):
    """One output, checked. `dest` "-" is standard output.

    `attributes` are all but `type` and `dest`, as given; the other fields are
    what they mean. `names` are full image names. `compression` "" leaves the
    choice to the build. `force`: base layers are packed anew too. `directory`:
    a layout as a directory and not as an archive. `docker_types`: docker's
    media types.
    """

    kind: str
    dest: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    compression: str = ""
    level: int = 0
    force: bool = False
    docker_types: bool = False
    directory: bool = False


def parse_output(text: str) -> Output:
    """The output that the value of an `-o` asks for. Raises `UsageError` naming the attribute that is wrong."""
    fields = split(text)
    if len(fields) == 1 and "=" not in fields[0]:
        return check("tar", "-", ()) if fields[0] == "-" else check("local", fields[0], ())
    pairs = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise UsageError(
                f"`{field}` in the output `{text}` is not NAME=VALUE", hint="write -o DIR, or -o type=oci,dest=FILE"
            )
        pairs.append((name.strip().lower(), value))
    kinds = [value for name, value in pairs if name == "type"]
    if len(kinds) != 1:
        raise UsageError(
            f"the output `{text}` needs one `type=`", hint=f"the types are {', '.join(sorted(_ATTRIBUTES))}"
        )
    dest = dict(pairs).get("dest", "")
    return check(kinds[0], dest, [(name, value) for name, value in pairs if name not in ("type", "dest")])


def split(text: str) -> list[str]:
    """The fields of a line of CSV. Raises `UsageError` where it is none."""
    import _csv  # the C half of `csv`, which imports re

    try:
        rows = list(_csv.reader([text], strict=True))
    except _csv.Error as problem:
        raise UsageError(f"the output `{text}` cannot be read: {problem}") from problem
    if len(rows) != 1 or not rows[0] or not any(rows[0]):
        raise UsageError("the output is empty", hint="write -o DIR, or -o type=oci,dest=FILE")
    return rows[0]


def check(kind: str, dest: str, attributes: Iterable[tuple[str, str]]) -> Output:
    """The output of that kind with those attributes. Raises `UsageError` for what it does not know or cannot do."""
    known = _ATTRIBUTES.get(kind)
    if known is None:
        raise UsageError(f"there is no output type `{kind}`", hint=_meant(kind, _ATTRIBUTES))
    values: dict[str, str] = {}
    attributes = tuple(attributes)
    for name, value in attributes:
        if name not in known:
            raise UsageError(f"the output type `{kind}` has no attribute `{name}`", hint=_meant(name, known))
        if name in values and name != "name":
            raise UsageError(f"the attribute `{name}` of the output is given twice")
        values[name] = f"{values[name]},{value}" if name in values else value
    if dest and "dest" not in known:
        raise UsageError(f"the output type `{kind}` has no attribute `dest`", hint=_meant("dest", known))
    if "dest" in known and not dest:
        hint = "there is no daemon to load it into; write it to a file and load that" if kind == "docker" else ""
        raise UsageError(f"the output type `{kind}` needs `dest=`", hint=hint)
    if values.get("mode", "copy") != "copy":
        raise UsageError(f"`mode={values['mode']}` is not possible", hint="the only mode is `copy`")
    compression = values.get("compression", "")
    if compression and compression not in COMPRESSIONS:
        raise UsageError(f"there is no compression `{compression}`", hint=_meant(compression, COMPRESSIONS))
    docker_types = not _boolean(values, "oci-mediatypes", True)
    if docker_types and compression == "zstd":
        raise UsageError("docker's media types know no zstd", hint="leave out `oci-mediatypes=false`, or take gzip")
    directory = not _boolean(values, "tar", True)
    if directory and dest == "-":
        raise UsageError("a directory cannot go to standard output", hint="leave out `tar=false`")
    if kind == "local" and dest == "-":
        raise UsageError("a directory cannot go to standard output", hint="write -o - for a tar archive")
    if kind == "local" and os.path.realpath(dest) == "/":
        # Where the result has a directory and this machine a link, as for /bin, the link would go.
        hint = "name a directory, or unpack an archive: -o - | tar -x -C / --keep-directory-symlink"
        raise UsageError("a root filesystem is not written over this machine's own", hint=hint)
    if kind == "image" and _boolean(values, "push", False):
        kind = "registry"
    elif kind == "registry" and not _boolean(values, "push", True):
        raise UsageError("the output type `registry` always pushes", hint="`type=image` only names the image here")
    return Output(
        kind=kind,
        dest=dest,
        attributes=attributes,
        names=tuple(str(reference.parse(name)) for name in values.get("name", "").split(",") if name),
        compression=compression,
        level=_level(values.get("compression-level", ""), compression),
        force=_boolean(values, "force-compression", False),
        docker_types=docker_types,
        directory=directory,
    )


def _boolean(values: dict[str, str], name: str, default: bool) -> bool:
    value = values.get(name, "")
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    if value:
        raise UsageError(f"`{name}={value}` of the output is neither true nor false")
    return default


def _level(text: str, compression: str) -> int:
    if not text:
        return 0
    highest = _LEVELS.get(compression or "zstd", 0)
    if not (text.isascii() and text.isdigit() and int(text) <= highest):
        raise UsageError(f"`compression-level={text}` is not a level of {compression or 'zstd'} (0 to {highest})")
    return int(text)


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known are {', '.join(sorted(known))}" if known else "it has none"
