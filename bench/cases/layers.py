"""Cases of much data: packing a layer of many files or of one big one, and unpacking."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from bench import fixtures
from bench.private import discard
from bench.race import race
from bench.registry import BUSYBOX, SEED, SEED_SIZE, busybox_root, seed
from bench.verdict import Report, at_least, at_most
from bench.workbench import Workbench

_FILES, _FILE_SIZE = 50_000, 2048


def copy_50k(bench: Workbench) -> Report:
    """COPY of 50,000 files, cold, to an OCI archive."""
    files = bench.size(_FILES)
    directory = bench.directory("copy")
    context = f"{directory}/context"
    os.mkdir(context)
    fixtures.tree(context, files, _FILE_SIZE)
    fixtures.write(f"{context}/Dockerfile", "FROM scratch\nCOPY . /\n")
    home = f"{directory}/store"
    archive = f"type=oci,dest={directory}/pybuild.tar"
    contenders = [
        bench.pybuild(
            *("build", "-t", "copy", "-o", archive, "."),
            cwd=context,
            home=home,
            prepare=_removing(home, f"{directory}/pybuild.tar"),
        )
    ]
    if bench.has("docker"):
        bench.start_docker()

        def forget_docker(_: int) -> None:
            bench.forget_docker("copy")
            discard(f"{directory}/docker.tar")

        contenders.append(bench.docker_build("copy", context, save=f"{directory}/docker.tar", prepare=forget_docker))
    if bench.has("buildah"):

        def forget_containers(_: int) -> None:
            bench.forget_containers("copy")
            discard(f"{directory}/buildah.tar")

        contenders.append(
            bench.buildah_build("copy", context, save=f"{directory}/buildah.tar", prepare=forget_containers)
        )
    if bench.has("tar+zstd"):
        script = f"tar -c -C {shlex.quote(context)} . | zstd -1 -q -f -o bare.tar.zst"
        contenders.append(bench.other("tar+zstd", ("sh", "-c", script), cwd=directory))
    samples = race(contenders, bench.rounds(3))
    return Report(
        "copy-50k",
        f"COPY of {files:,} files of 2 kB, cold, to an OCI archive",
        samples,
        (at_least("docker", "pybuild", 8), at_most("pybuild", "tar+zstd", 1.5)),
        ["docker: `build`, then `save`, which compresses nothing; tar+zstd: `tar -c | zstd -1`, which hashes nothing"],
    )


def run_1g(bench: Workbench) -> Report:
    """A RUN that writes 1 GB, to an OCI archive."""
    copies = bench.size(64)
    base = bench.base(SEED)
    directory = bench.directory("run-1g")
    context, home = f"{directory}/context", f"{directory}/store"
    write_big = f"for i in $(seq {copies}); do cat %s; done > %s"

    def renew(number: int) -> None:
        text = f"FROM {base}\nENV ROUND={number}\nRUN {write_big % ('/seed', '/big')}\n"
        fixtures.write(f"{context}/Dockerfile", text)

    def fresh(_: int) -> None:
        discard(home)
        discard(f"{directory}/pybuild.tar")
        bench.run("env", f"PYBUILD_HOME={home}", bench.pybuild_path, "pull", base)

    archive = f"type=oci,dest={directory}/pybuild.tar"
    contenders = [
        bench.pybuild("build", "-t", "big", "-o", archive, ".", cwd=context, home=home, prepare=fresh),
    ]
    if bench.has("docker"):

        def forget_docker(_: int) -> None:
            bench.forget_docker("big")
            discard(f"{directory}/docker.tar")

        contenders.append(bench.docker_build("big", context, save=f"{directory}/docker.tar", prepare=forget_docker))
    if bench.has("buildah"):

        def forget_containers(_: int) -> None:
            bench.forget_containers("big")
            discard(f"{directory}/buildah.tar")

        contenders.append(
            bench.buildah_build("big", context, save=f"{directory}/buildah.tar", prepare=forget_containers)
        )
    if bench.has("tar+zstd"):
        busybox_root(f"{directory}/root")
        Path(f"{directory}/seed").write_bytes(seed())
        script = f"{write_big % ('seed', 'big')} && tar -c big | zstd -1 -q -f -o bare.tar.zst"
        contenders.append(
            bench.other(
                "sh+tar+zstd",
                (f"{directory}/root/bin/sh", "-c", script),
                cwd=directory,
                prepare=_removing(f"{directory}/big", f"{directory}/bare.tar.zst"),
            )
        )
    samples = race(contenders, bench.rounds(3), before_round=renew)
    return Report(
        "run-1g",
        f"a RUN that writes {copies * SEED_SIZE >> 20} MB, to an OCI archive",
        samples,
        (at_least("docker", "pybuild", 1.8), at_most("pybuild", "sh+tar+zstd", 1.25)),
        ["the file is half random; sh+tar+zstd: the same loop in the same busybox, then `tar -c | zstd -1`"],
    )


def unpack_50k(bench: Workbench) -> Report:
    """Unpacking the layer of 50,000 files."""
    files = bench.size(_FILES)
    directory = bench.directory("unpack")
    context = f"{directory}/context"
    os.mkdir(context)
    fixtures.tree(f"{context}", files, _FILE_SIZE)
    fixtures.write(f"{context}/Dockerfile", f"FROM {bench.base(BUSYBOX)}\nCOPY . /tree/\n")
    image = f"{bench.registry.host}/unpack:1"
    bench.run(bench.pybuild_path, "build", "-t", image, "--push", ".", cwd=context)
    layout = f"{directory}/layout"
    bench.run(bench.pybuild_path, "build", "-t", image, "-o", f"type=oci,tar=false,dest={layout}", ".", cwd=context)
    blobs = f"{layout}/blobs/sha256"
    layer = max((f"{blobs}/{name}" for name in os.listdir(blobs)), key=os.path.getsize)
    home = f"{directory}/store"

    def pulled(_: int) -> None:
        discard(home)
        bench.run("env", f"PYBUILD_HOME={home}", bench.pybuild_path, "pull", image)

    contenders = [bench.pybuild("run", image, "true", cwd=directory, home=home, prepare=pulled)]
    if bench.has("tar+zstd"):
        root = f"{directory}/root"

        def empty(_: int) -> None:
            discard(root)
            os.mkdir(root)

        script = f"zstd -d -c {shlex.quote(layer)} | tar -x -C {shlex.quote(root)}"
        contenders.append(bench.other("zstd+tar", ("sh", "-c", script), cwd=directory, prepare=empty))
    samples = race(contenders, bench.rounds(5))
    return Report(
        "unpack-50k",
        f"unpacking a layer of {files:,} files of 2 kB",
        samples,
        (at_most("pybuild", "zstd+tar", 1.0),),
        ["pybuild: `run IMAGE true` of an image that was pulled and not unpacked, so with a start and a sandbox"],
    )


def _removing(*paths: str) -> Callable[[int], None]:
    def remove(_: int) -> None:
        for path in paths:
            discard(path)

    return remove
