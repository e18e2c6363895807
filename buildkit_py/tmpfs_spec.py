"""The specification of a tmpfs that `--tmpfs` and a compose file share: `PATH[:OPTION,…]`, as docker writes it."""

from __future__ import annotations

import os

from buildkit_py.byte_size import byte_size
from buildkit_py.record import Record
from buildkit_py.whole_number import whole_number

MODE = 0o1777
"""Of its root, where nothing else is said."""
_NO_ID = (1 << 32) - 1  # the kernel's word for nobody at all
_MOST_PERCENT = 1000  # it may be more than all: what it holds is swapped out, too
# A new tmpfs is so in any case, or as docker has it where nothing is said.
_ALWAYS = ("rw", "nosuid", "nodev", "noexec")


class TmpfsSpec(Record):
    """`size` in bytes, or in `percent` of the machine's memory; both 0: no limit of its own. The owner of its root is
    `uid`:`gid`.
    """

    target: str
    size: int = 0
    mode: int = MODE
    executable: bool = False
    uid: int = 0
    gid: int = 0
    percent: int = 0


def tmpfs_spec(text: str) -> TmpfsSpec:
    """What a text says. Raises `ValueError` with what is wrong."""
    path, _, options = text.partition(":")
    target = os.path.normpath(path)
    if not path.startswith("/") or target.strip("/") == "":
        raise ValueError(f"`{path}` is no absolute path below `/`")
    spec = TmpfsSpec(target.replace("//", "/"))
    for option in options.split(",") if options else ():
        name, equals, value = option.partition("=")
        if name == "size" and value.endswith("%"):  # tmpfs(5)
            spec = spec.replace(size=0, percent=whole_number(value[:-1], least=1, most=_MOST_PERCENT))
        elif name == "size" and value:
            spec = spec.replace(size=byte_size(value, 1), percent=0)
        elif name == "mode" and value and len(value.lstrip("0")) <= 4 and set(value) <= set("01234567"):
            spec = spec.replace(mode=int(value, 8))
        elif name in ("uid", "gid") and value:
            spec = spec.replace(**{name: whole_number(value, most=_NO_ID - 1)})
        elif option == "exec" or (option in _ALWAYS and not equals):
            spec = spec.replace(executable=option == "exec" or (spec.executable and option != "noexec"))
        else:
            raise ValueError(
                f"`{option}` is not understood; it takes `size=64m`, `mode=1777`, `uid=`, `gid=`, `exec` and `noexec`"
            )
    return spec
