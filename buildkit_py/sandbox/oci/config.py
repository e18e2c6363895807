"""The config.json of an OCI bundle: a sandbox spec in the words of the runtime specification (config.md, 1.0).

What it says is what `init` does with the same spec: the same mounts, masks,
capabilities and filter, the same user and variables.
"""

from __future__ import annotations

import os

from buildkit_py.record import Record
from buildkit_py.sandbox.capabilities import NAMES
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.oci.seccomp import seccomp_document
from buildkit_py.sandbox.seccomp import supported
from buildkit_py.sandbox.system import MASKED, READ_ONLY, SHM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.sandbox.passwd import User
    from buildkit_py.sandbox.spec import SandboxSpec

VERSION = "1.0.2"
"""Of the specification: the oldest that has all that is used, so that old runtimes take it as well."""

MOUNT_POINTS = (b"proc", b"sys", b"dev")
"""Of the root: where the kernel's files go."""

_PERIOD = 100_000  # microseconds
_OFF = ["nosuid", "noexec", "nodev"]


class Place(Record):
    """Where a bundle is going to run.

    `root` is the root filesystem, absolute or below the bundle. `networks`: a network namespace of its own is made,
    which nothing leads out of. `machine_sys`: no new /sys may be mounted, so the machine's is shown read-only.
    `uids` and `gids` are the lines of a new user namespace's uid_map and gid_map, (inside, outside, count); none: no
    new one. `tty_group`: group 5 exists there; `groups`: it may have additional groups. `seal` is a command that runs
    when all is mounted and the root has not changed yet; it makes the root read-only then, if that is wanted. `dev` is
    a directory that becomes /dev; "": the runtime makes one, and keeps other devices away by a control group.
    `screen` is the size of the terminal, (rows, columns), where it is known. `resources` are what the runtime limits:
    bytes of memory, thousandths of a processor, processes; 0: no limit. `sysctls` are set in the new namespaces.
    """

    root: str
    networks: bool = False
    machine_sys: bool = False
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()
    tty_group: bool = True
    groups: bool = True
    seal: tuple[str, ...] = ()
    dev: str = ""
    screen: tuple[int, int] = (0, 0)
    resources: tuple[int, int, int] = (0, 0, 0)
    sysctls: tuple[tuple[str, str], ...] = ()


class BundleMount(Record):
    """One mount beside those of every sandbox. `source` is absolute or below the bundle, "" for a tmpfs."""

    target: str
    source: str = ""
    options: tuple[str, ...] = ()


def runtime_config(
    spec: SandboxSpec, env: dict[bytes, bytes], user: User, mounts: tuple[BundleMount, ...], place: Place
) -> bytes:
    """The document, as UTF-8. `env` and `user` are what the spec's come to in its root.

    Raises `SetupFailure` for text that is no UTF-8, which JSON cannot hold (RFC 8259, section 8.1).
    """
    import json

    document: dict[str, Any] = {
        "ociVersion": VERSION,
        "process": _process(spec, env, user, place),
        "root": {"path": place.root, "readonly": spec.read_only_root and not place.seal},
        "hostname": spec.hostname,
        "mounts": [*_system_mounts(place, spec.shm), *[_mount(mount) for mount in mounts]],
        "linux": _linux(spec, place),
    }
    if place.seal:
        document["hooks"] = {"createContainer": [{"path": place.seal[0], "args": list(place.seal)}]}
    try:
        return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        text = error.object[max(0, error.start - 20) : error.end + 20]
        raise SetupFailure(
            "write the bundle: an argument, variable or path is no UTF-8, which config.json cannot hold",
            0,
            ascii(text),
        ) from error


def refuse_links(tree: int) -> None:
    """Raise `SetupFailure` where the root `tree` has something other than a directory at one of `MOUNT_POINTS`.

    By a link there runtimes were led out (CVE-2019-19921, CVE-2026-47766). What is not there they make.
    """
    for name in MOUNT_POINTS:
        try:
            mode = os.stat(name, dir_fd=tree, follow_symlinks=False).st_mode
        except FileNotFoundError:
            continue
        if mode & 0o170000 != 0o040000:
            raise SetupFailure(
                "the image has something other than a directory where the kernel's files go", 0, f"/{name.decode()}"
            )


def _process(spec: SandboxSpec, env: dict[bytes, bytes], user: User, place: Place) -> dict[str, Any]:
    names = ["CAP_" + name for number, name in enumerate(NAMES) if spec.capabilities >> number & 1]
    held = names if user.uid == 0 else []
    numbers: dict[str, Any] = {"uid": user.uid, "gid": user.gid, "umask": 0o022}
    # runc lets an ordinary user's container have no additional group at all, not even the one that it has anyway.
    if place.groups and not (place.uids and user.groups == [user.gid]):
        numbers["additionalGids"] = list(user.groups)
    rows, columns = place.screen
    screen = {"consoleSize": {"height": rows, "width": columns}} if spec.terminal and rows and columns else {}
    return screen | {
        "terminal": spec.terminal,
        "user": numbers,
        "args": list(spec.argv),
        "env": [(name + b"=" + value).decode("utf-8", "surrogateescape") for name, value in env.items()],
        "cwd": spec.cwd,
        "capabilities": {
            "bounding": names,
            "effective": held,
            "permitted": held,
            "inheritable": [],
            "ambient": [],
        },
        "noNewPrivileges": spec.no_new_privileges,
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard} for name, _, soft, hard in spec.ulimits
        ],
    }


def _system_mounts(place: Place, shm: int) -> list[dict[str, Any]]:
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *(["gid=5"] if place.tty_group else [])]
    system = _entry("/sys", "sysfs", "sysfs", [*_OFF, "ro"])
    if place.machine_sys:
        system = _entry("/sys", "none", "/sys", ["rbind", *_OFF, "ro"])
    dev = _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    if place.dev:
        dev = _entry("/dev", "bind", place.dev, ["rbind", "nosuid", "nodev"])
    return [
        _entry("/proc", "proc", "proc", _OFF),
        dev,
        _entry("/dev/pts", "devpts", "devpts", pts),
        _entry("/dev/shm", "tmpfs", "shm", [*_OFF, "mode=1777", f"size={shm or SHM}"]),
        _entry("/dev/mqueue", "mqueue", "mqueue", _OFF),
        system,
    ]


def _mount(mount: BundleMount) -> dict[str, Any]:
    if not mount.source:
        return _entry(mount.target, "tmpfs", "tmpfs", list(mount.options))
    return _entry(mount.target, "bind", mount.source, list(mount.options))


def _entry(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _linux(spec: SandboxSpec, place: Place) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount", "cgroup"]
    if place.networks:
        namespaces.append("network")
    out: dict[str, Any] = {
        "rootfsPropagation": "private",
        "maskedPaths": ["/" + path.decode() for path in MASKED] + list(spec.root.hide),
        "readonlyPaths": ["/" + path.decode() for path in READ_ONLY],
        # Nothing but what every runtime adds to it: null, zero, full, random, urandom, tty and terminals.
        "resources": {"devices": [{"allow": False, "access": "rwm"}], **_limits(*place.resources)},
    }
    if place.sysctls:
        out["sysctl"] = dict(place.sysctls)
    if place.uids:
        namespaces.append("user")
        out["uidMappings"] = [_mapping(*line) for line in place.uids]
        out["gidMappings"] = [_mapping(*line) for line in place.gids]
    out["namespaces"] = [{"type": kind} for kind in namespaces]
    if spec.seccomp and supported():
        out["seccomp"] = seccomp_document(spec.capabilities)
    return out


def _limits(memory: int, cpus: int, pids: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if memory:
        out["memory"] = {"limit": memory, "swap": memory}  # swap included, in the specification too
    if cpus:
        out["cpu"] = {"period": _PERIOD, "quota": cpus * _PERIOD // 1000}
    if pids:
        out["pids"] = {"limit": pids}
    return out


def _mapping(inside: int, outside: int, count: int) -> dict[str, int]:
    return {"containerID": inside, "hostID": outside, "size": count}
