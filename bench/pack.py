"""Layers by themselves: packing against `tar c | zstd -1`, unpacking against `zstd -d | tar x`.

    python -m bench.pack [FILES] [ROUNDS]

In this process, without a build around it, so that a change of image/ shows.
The contenders run in turn, on tmpfs; printed are medians and their ratio.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from bench.fixtures import tree
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.image.unpack import unpack

_SIZE = 2048


def main(argv: list[str]) -> int:
    """Run the races and print a line for each."""
    files = int(argv[0]) if argv else 50_000
    rounds = int(argv[1]) if len(argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="pybuild-bench-", dir="/dev/shm") as work:
        source, out = f"{work}/tree", f"{work}/out"
        os.mkdir(source)
        tree(source, files, _SIZE)
        many = f"{files:,} files of 2 kB"
        _race(many, rounds, _packers(source, f"{work}/blob"))
        blob = f"{work}/layer"
        with open(blob, "wb") as file:
            media_type = pack(diff(source, hash_files=False), file.write).media_type
        _race(f"unpack {many}", rounds, _unpackers(blob, media_type, out), lambda: _empty(out))
        shutil.rmtree(source)
        os.mkdir(source)
        with open(f"{source}/big", "wb") as file:
            for number in range(512):
                file.write(os.urandom(1 << 20) + b"%08d a line of text that repeats\n" % number * 25_000)
        _race("one file of 1 GB", 3, _packers(source, f"{work}/blob"))
    return 0


def _packers(source: str, blob: str) -> dict[str, Callable[[], object]]:
    entries = diff(source, hash_files=False)

    def ours(*, hash_files: bool, walk: bool = False) -> None:
        found = diff(source, hash_files=False) if walk else entries
        with open(blob, "wb") as file:
            pack(found, file.write, hash_files=hash_files)

    return {
        "tar c | zstd -1": lambda: _shell(f"tar c -C {source} . | zstd -1 -q -c > {blob}"),
        "tar c | zstd -1 -T0": lambda: _shell(f"tar c -C {source} . | zstd -1 -T0 -q -c > {blob}"),
        "pack": lambda: ours(hash_files=False),
        "pack with content digest": lambda: ours(hash_files=True),
        "diff and pack with content digest": lambda: ours(hash_files=True, walk=True),
    }


def _unpackers(blob: str, media_type: str, out: str) -> dict[str, Callable[[], object]]:
    def ours(*, hash_files: bool) -> None:
        with open(blob, "rb") as file:
            unpack(file.read, out, media_type=media_type, userxattr=False, privileged=True, hash_files=hash_files)

    return {
        "zstd -d | tar x": lambda: _shell(f"zstd -dcq {blob} | tar x -C {out}"),
        "unpack": lambda: ours(hash_files=False),
        "unpack with content digest": lambda: ours(hash_files=True),
    }


def _shell(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


def _empty(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)


def _race(
    title: str,
    rounds: int,
    contenders: dict[str, Callable[[], object]],
    prepare: Callable[[], object] = lambda: None,
) -> None:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            prepare()
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    first = statistics.median(next(iter(times.values())))
    print(title)
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"  {name:36} {median * 1000:7.0f} ms   {median / first:5.2f}   (least {min(taken) * 1000:.0f} ms)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
