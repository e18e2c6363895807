"""Cases of caches for other machines: an empty store beside a full cache, and one line changed before it is written.

The base image, the cache and all else come from and go to one local registry,
whose log says how many bytes it sent and whose storage how many it took.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import fixtures
from bench.fresh_docker import FreshDocker
from bench.private import discard
from bench.race import Contender, Failure, Sample, race, run_once
from bench.registry import SEED
from bench.verdict import Report, at_least
from bench.workbench import Workbench

_FILES, _FILE_SIZE = 1_000, 2048


def cache_cold(bench: Workbench) -> Report:
    """A build in an empty store, of which a cache elsewhere has everything."""
    with _Project(bench, "cache-cold") as project:
        for contender in project.contenders(lambda where: ("--cache-to", where + ",mode=max")):
            project.run(contender)
        contenders = project.contenders(lambda where: ("--cache-from", where), fresh=True)
        samples = race(contenders, bench.rounds(3))
        samples += [project.fetched(contender) for contender in contenders if "registry" in contender.name]
    return Report(
        "cache-cold",
        f"an empty store and a full cache: {project.text}",
        samples,
        (
            at_least("docker, directory", "pybuild, directory", 5),
            at_least("docker, registry", "pybuild, registry", 5),
            at_least("docker, registry, received", "pybuild, registry, received", 10),
        ),
        ["both name the image that comes of it; pybuild leaves its layers where they are until somebody wants them"],
    )


def cache_edit(bench: Workbench) -> Report:
    """One line of a file changes, and the cache is written again."""
    with _Project(bench, "cache-edit") as project:
        samples = _edited(bench, project)
    return Report(
        "cache-edit",
        f"one line changed and the cache written again: {project.text}",
        samples,
        (
            at_least("docker, directory", "pybuild, directory", 5),
            at_least("docker, registry", "pybuild, registry", 5),
            at_least("docker, registry, written", "pybuild, registry, written", 5),
        ),
        ["two RUN steps and a COPY into the last stage follow on that file; both make an image"],
    )


def _edited(bench: Workbench, project: _Project) -> list[Sample]:
    """What the builds took after each edit, and what they wrote to the cache."""
    contenders = project.contenders(lambda where: ("--cache-to", where + ",mode=max"))
    written: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    running: list[tuple[str, dict[str, int]]] = []

    def edit(number: int) -> None:
        Path(f"{project.context}/edited.txt").write_text(f"round {number}\n")

    def settle() -> None:
        """Note what the one who ran last has written."""
        while running:
            name, before = running.pop()
            after = _files(project.places[name])
            written[name].append(sum(size for path, size in after.items() if before.get(path) != size) / 1e3)

    def watched(contender: Contender) -> Contender:
        def begin(_: int) -> None:
            settle()
            running.append((contender.name, _files(project.places[contender.name])))

        return Contender(contender.name, contender.commands, contender.cwd, contender.env, begin)

    samples = race([watched(one) for one in contenders], bench.rounds(5), warm_up=1, before_round=edit)
    settle()
    for name, sizes in written.items():
        samples.append(Sample(f"{name}, written", tuple(sizes[1:]), unit="kB"))
    return samples


class _Project:
    """What is built, and by whom: with a cache in a directory and with one in a registry. Docker runs in its `with`."""

    def __init__(self, bench: Workbench, name: str) -> None:
        self._bench = bench
        self._directory = bench.directory(name)
        self.context = f"{self._directory}/context"
        self._copies = bench.size(10)
        files = bench.size(_FILES)
        os.makedirs(f"{self.context}/src")
        fixtures.tree(f"{self.context}/src", files, _FILE_SIZE)
        Path(f"{self.context}/edited.txt").write_text("as it was\n")
        base = bench.registry.image(SEED)
        copied = " ".join(["/seed"] * self._copies)
        fixtures.write(
            f"{self.context}/Dockerfile",
            f"FROM {base} AS build\nRUN cat {copied} > /libraries\nWORKDIR /app\nCOPY src src\n"
            "COPY edited.txt ./\nRUN cat edited.txt > one\nRUN cat one > two\n"
            f"FROM {base}\nCOPY --from=build /libraries /libraries\nCOPY --from=build /app/two /app/two\n"
            'CMD ["cat"]\n',
        )
        self.text = f"two stages, {self._copies * 16} MB of libraries and {files:,} files"
        self.places: dict[str, str] = {}
        self._docker = FreshDocker(f"{bench.root}/engines/fresh", bench.env)

    def contenders(self, options: Callable[[str], tuple[str, ...]], *, fresh: bool = False) -> list[Contender]:
        """pybuild and docker, each with either cache; in a `fresh` store each round, or in one of its own."""
        found = []
        for kind in ("directory", "registry"):
            if self._bench.has("docker"):
                found.append(self._docker_build(kind, options, fresh))
            found.append(self._pybuild(kind, options, fresh))
        return found

    def _pybuild(self, kind: str, options: Callable[[str], tuple[str, ...]], fresh: bool) -> Contender:
        name = f"pybuild, {kind}"
        home = f"{self._directory}/{name}"
        arguments = ("build", *options(self._where(name, kind, options)), "-t", "bench", ".")

        def empty(_: int) -> None:
            discard(home)

        return self._bench.pybuild(*arguments, cwd=self.context, name=name, home=home, prepare=empty if fresh else None)

    def _docker_build(self, kind: str, options: Callable[[str], tuple[str, ...]], fresh: bool) -> Contender:
        name = f"docker, {kind}"
        where = self._where(name, kind, options)
        command = ("docker", "build", "--network=host", *options(where), "-t", "bench", ".")

        def empty(_: int) -> None:
            self._docker.renew()

        return Contender(name, (command,), self.context, self._docker.env, empty if fresh else None)

    def _where(self, name: str, kind: str, options: Callable[[str], tuple[str, ...]]) -> str:
        """The cache of a contender, in buildx's words."""
        engine = name.partition(",")[0]
        if kind == "registry":
            self.places[name] = f"{self._bench.registry.data}/docker/registry/v2/blobs"
            return f"type=registry,ref={self._bench.registry.host}/{engine}-cache:main"
        self.places[name] = place = f"{self._directory}/{engine}-cache"
        return f"type=local,{'src' if options('')[0] == '--cache-from' else 'dest'}={place}"

    def run(self, contender: Contender) -> None:
        """Once, not measured. Raises `RuntimeError`."""
        try:
            run_once(contender, 0)
        except Failure as failure:
            raise RuntimeError(str(failure)) from failure

    def fetched(self, contender: Contender) -> Sample:
        """What the registry sends to a contender for one more build, in MB."""
        before = self._bench.registry.sent()
        self.run(contender)
        return Sample(f"{contender.name}, received", ((self._bench.registry.sent() - before) / 1e6,), unit="MB")

    def __enter__(self) -> Self:
        if self._bench.has("docker"):
            self._docker.renew()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._docker.stop()


def _files(directory: str) -> dict[str, int]:
    """The files below a directory and how many bytes they have; none where it is not there."""
    return {f"{at}/{name}": os.lstat(f"{at}/{name}").st_size for at, _, names in os.walk(directory) for name in names}
