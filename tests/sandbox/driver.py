"""Runs sandboxes for a test, as whichever user the test started it: specs come in, outcomes go out, as pickles.

A child process, since entering a user namespace cannot be undone.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile

sys.path.insert(0, sys.argv[1])

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox import userns
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.network.plan import draw
from buildkit_py.sandbox.spec import SandboxSpec


def snapshot(upper: str) -> dict[str, tuple[int, int, int, bytes]]:
    """Path → mode, owner, group and contents of everything that a run left in its layer."""
    out = {}
    for here, directories, files in os.walk(upper):
        for name in directories + files:
            path = f"{here}/{name}"
            status = os.lstat(path)
            data = b""
            if status.st_mode & 0o170000 == 0o100000:
                with open(path, "rb") as file:
                    data = file.read()
            elif status.st_mode & 0o170000 == 0o120000:
                data = os.fsencode(os.readlink(path))
            out[os.path.relpath(path, upper)] = (status.st_mode, status.st_uid, status.st_gid, data)
    return out


def run(launcher: Launcher, base: str, wire: dict[str, object], layers: list[dict[str, bytes]]) -> dict[str, object]:
    place = tempfile.mkdtemp(dir=base)
    try:
        root = dict(wire["root"])  # type: ignore[call-overload]
        root["layers"] = tuple(f"{base}/rootfs" if layer == sys.argv[3] else layer for layer in root["layers"])
        for number, files in enumerate(layers):
            for name, data in files.items():
                path = f"{place}/layer-{number}/{name}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if data.startswith(b"->"):
                    os.symlink(data[2:], path)
                elif name.endswith("/"):
                    os.makedirs(path, exist_ok=True)
                else:
                    with open(path, "wb") as file:
                        file.write(data)
                    os.chmod(path, 0o755)
            os.makedirs(f"{place}/layer-{number}", exist_ok=True)
            root["layers"] = (*root["layers"], f"{place}/layer-{number}")
        if root["upper"] == "@":
            for name in ("upper", "work"):
                os.mkdir(f"{place}/{name}", 0o755)
                root[name] = f"{place}/{name}"
        spec = SandboxSpec.from_wire({**wire, "root": root})
        if spec.network == "isolated":
            plan = draw()
            plan = plan.replace(uplinks=tuple([name for name in plan.uplinks if name in sys.argv[4:]] or plan.uplinks))
            launcher.connect(plan)
            if spec.resolv_conf is None:
                spec = spec.replace(resolv_conf=plan.resolv_conf)
        out, err = open(f"{place}/out", "wb"), open(f"{place}/err", "wb")
        result: dict[str, object] = {}
        try:
            launcher.prepare(spec.network)  # for a usual spec; the others are forked when they are wanted
            ended = launcher.spawn(spec, stdout=out.fileno(), stderr=err.fileno()).wait()
            result.update(code=ended.code, max_rss=ended.max_rss, seconds=ended.seconds)
        except SandboxError as error:
            result.update(error=error.message, at=str(error.at or ""), hint=error.hint, notes=error.notes)
        out.close()
        err.close()
        for name in ("out", "err"):
            with open(f"{place}/{name}", "rb") as file:
                result[name] = file.read().decode("utf-8", "replace")
        result["upper"] = snapshot(f"{place}/upper") if os.path.isdir(f"{place}/upper") else {}
        return result
    finally:
        shutil.rmtree(place)


def main() -> None:
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ["SECRET_OF_THE_HOST"] = "leaked"
    identity = userns.enter()
    with Launcher.start() as launcher:
        base = tempfile.mkdtemp(dir=sys.argv[2])
        try:
            os.chmod(base, 0o755)
            # Its files have to belong to root, which in a user namespace is the user.
            shutil.copytree(sys.argv[3], f"{base}/rootfs", symlinks=True)
            pickle.dump((identity.privileged, identity.userns, identity.single_id, identity.why), answer)
            answer.flush()
            while True:
                try:
                    wire, layers = pickle.load(sys.stdin.buffer)
                except EOFError:
                    return
                pickle.dump(run(launcher, base, wire, layers), answer)
                answer.flush()
        finally:
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
