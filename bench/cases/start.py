"""Cases of starting something: a container of an image that is there or is not, and the command itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bench.private import discard
from bench.race import Contender, race
from bench.registry import BUSYBOX, DEBIAN, busybox_root
from bench.verdict import Report, at_least, at_most
from bench.workbench import Workbench


def pull_run(bench: Workbench) -> Report:
    """Pull a real Debian into an empty store and run `true` in it."""
    image = bench.registry.image(DEBIAN)
    directory = bench.directory("pull-run")
    home = f"{directory}/store"
    contenders = [bench.pybuild("run", image, "true", cwd=directory, home=home, prepare=lambda _: discard(home))]
    if bench.has("podman"):
        root = f"{directory}/podman"
        run = (*bench.storage("podman", root), "run", "--rm", "--network=host", "--tls-verify=false", image, "true")
        contenders.append(bench.other("podman", run, cwd=directory, prepare=lambda _: discard(root)))
    if bench.has("docker"):
        bench.start_docker()

        def forget(_: int) -> None:
            bench.forget_docker(image)

        run = ("docker", "run", "--rm", "--network=host", image, "true")
        contenders.append(bench.other("docker", run, cwd=directory, prepare=forget))
    if bench.has("curl+tar"):
        root_directory = f"{directory}/root"

        def empty(_: int) -> None:
            discard(root_directory)
            os.mkdir(root_directory)

        repository, _, tag = DEBIAN.partition(":")
        url = f"http://{bench.registry.host}/v2/{repository}"
        script = (
            f"curl -sf {url}/manifests/{tag} -H 'Accept: application/vnd.oci.image.manifest.v1+json' -o manifest && "
            f"curl -sf {url}/blobs/{bench.registry.layer(DEBIAN)} | tar -xz -C root && chroot root /bin/true"
        )
        contenders.append(bench.other("curl+tar", ("sh", "-c", script), cwd=directory, prepare=empty))
    samples = race(contenders, bench.rounds(5), warm_up=1)
    return Report(
        "pull-run",
        "pull debian:trixie from a local registry into an empty store and run `true` in it",
        samples,
        (at_least("podman", "pybuild", 1.5), at_most("pybuild", "curl+tar", 1.2)),
    )


def run_true(bench: Workbench) -> Report:
    """`run IMAGE true`, warm, the host's network."""
    image = bench.base(BUSYBOX)
    directory = bench.directory("run-true")
    contenders = [bench.pybuild("run", image, "true", cwd=directory)]
    if bench.has("docker"):
        contenders.append(
            bench.other("docker", ("docker", "run", "--rm", "--network=host", image, "true"), cwd=directory)
        )
    if bench.has("podman"):
        if not bench.has("buildah"):
            bench.run(*bench.storage("podman"), "pull", "-q", "--tls-verify=false", image)
        run = (*bench.storage("podman"), "run", "--rm", "--network=host", image, "true")
        contenders.append(bench.other("podman", run, cwd=directory))
    contenders += [_oci_runtime(bench, name, directory) for name in ("runc", "crun") if bench.has(name)]
    samples = race(contenders, bench.rounds(15), warm_up=2)
    return Report(
        "run-true",
        "`run IMAGE true`, warm, the host's network",
        samples,
        (at_least("docker", "pybuild", 5), at_most("pybuild", "runc", 1)),
        ["runc and crun bind a directory that is there already; the others mount an overlay over an image"],
    )


def help_text(bench: Workbench) -> Report:
    """`pybuild --help` beside the same interpreter that does nothing."""
    contenders = [
        bench.pybuild("--help", cwd=bench.root),
        bench.other("python -c pass", (bench.interpreter, "-c", "pass"), cwd=bench.root),
    ]
    samples = race(contenders, bench.rounds(31), warm_up=2)
    return Report("help", "`pybuild --help`", samples, (at_most("pybuild", "python -c pass", 4),))


def bundle(bench: Workbench, runtime: str, directory: str) -> dict[str, Any]:
    """The configuration that a runtime writes for busybox's `true`; the root filesystem is in the new directory."""
    busybox_root(f"{directory}/rootfs")
    bench.run(runtime, "spec", cwd=directory)
    spec: dict[str, Any] = json.loads(Path(f"{directory}/config.json").read_text())
    spec["process"] |= {"args": ["true"], "terminal": False}
    return spec


def run_bundle(bench: Workbench, runtime: str, directory: str, spec: dict[str, Any]) -> Contender:
    """A runtime that runs the bundle in a directory with this configuration."""
    Path(f"{directory}/config.json").write_text(json.dumps(spec))
    command = (runtime, "--root", f"{directory}-state", "run", "--bundle", directory, f"bench-{runtime}")
    return bench.other(runtime, command, cwd=directory)


def _oci_runtime(bench: Workbench, name: str, directory: str) -> Contender:
    spec = bundle(bench, name, f"{directory}/{name}")
    namespaces = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [namespace for namespace in namespaces if namespace["type"] != "network"]
    return run_bundle(bench, name, f"{directory}/{name}", spec)
