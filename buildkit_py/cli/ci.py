"""`pybuild ci restore | save`: the caches of a CI job, from before its first build to after its last."""

from __future__ import annotations

import os
import sys
import time

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.ci_job import CiJob
    from buildkit_py.cli.options import Parsed

DIRECTORY = ".pybuild-cache"
# Of these the CI system itself keeps what a proposed change writes from all others.
_KEPT_APART = ("local", "gha")


def parser() -> Command:
    """The command's table."""
    return Command(
        "ci",
        "keep caches from one CI job to the next",
        (
            "pybuild ci restore [--dir=DIR | --cache-to=SPEC] [--cache-from=SPEC…]",
            "pybuild ci save",
        ),
        (
            Option(
                ("--dir",),
                f"restore: the directory that the CI system keeps (default: {DIRECTORY} in the project)",
                "DIR",
                completes="directory",
            ),
            Option(("--cache-to",), "restore: a cache of another type in place of DIR, as for `build`", "SPEC"),
            Option(("--cache-from",), "restore: read this one, too, and do not write it", "SPEC", many=True),
        ),
        about=(
            "`restore` lets all builds and tests of this job use what the cache has, without options of their own. "
            "`save` writes once what all of them came to, with the files of cache mounts. What cannot be read or "
            "written is a warning, and the job goes on. A pull or merge request writes into a directory or a cache of "
            "type gha only, which the CI system keeps apart from the main branch's."
        ),
        examples=(
            ("pybuild ci restore", "before the first build: read .pybuild-cache"),
            ("pybuild ci restore --cache-from=ghcr.io/me/cache:main", "read a cache of a registry besides"),
            ("pybuild ci save", "after the last build"),
        ),
        least=1,
        most=1,
        words=("restore", "save"),
    )


def main(argv: list[str]) -> int:
    """Do what the first operand says."""
    from buildkit_py.ci_job import ci_job

    parsed = parse(parser(), argv)
    job = ci_job(os.environ)
    if parsed.operands[0] == "restore":
        return _restore(parsed, job)
    for option in ("dir", "cache-from", "cache-to"):
        if parsed.all(option):
            raise UsageError(f"`pybuild ci save` has no `--{option}`", hint="it belongs to `restore`")
    return _save(job)


def _restore(parsed: Parsed, job: CiJob) -> int:
    from buildkit_py.api.ci import restore
    from buildkit_py.api.request import CacheSpec
    from buildkit_py.cli.cache_spec import cache_spec
    from buildkit_py.cli.locate import here
    from buildkit_py.cli.progress import shown
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible

    cwd = here()
    if parsed.one("dir") and parsed.one("cache-to"):
        raise UsageError("`--dir` and `--cache-to` are two places to write to: give one of them")
    directory = os.path.abspath(os.path.join(cwd, parsed.one("dir") or os.path.join(job.project, DIRECTORY)))
    dest = cache_spec(parsed.one("cache-to"), "--cache-to", cwd) if parsed.one("cache-to") else None
    dest = dest or CacheSpec("local", directory)
    if dest.mode == "min":
        raise UsageError("`pybuild ci` keeps all steps, so its `--cache-to` takes no `mode=min`")
    own = dest.replace(mounts=False, mounts_max=0)
    sources = list(dict.fromkeys([own, *(cache_spec(text, "--cache-from", cwd) for text in parsed.all("cache-from"))]))
    held = shown("plain", lambda emit: restore(job.name, sources, dest, emit, time.time()))
    if held.steps:
        size = units.size(held.bytes)
        places = ", ".join(visible(spec.shown) for spec in sources)
        sys.stdout.write(f"{places}: {held.steps} steps, {held.layers} layers ({size})\n")
    return 0


def _save(job: CiJob) -> int:
    from buildkit_py.api.ci import save
    from buildkit_py.api.request import CacheSpec
    from buildkit_py.cli.progress import shown
    from buildkit_py.config import store_root
    from buildkit_py.store.jobs import read_job

    began = read_job(store_root(os.environ), job.name)
    if began is None:
        raise UsageError("no CI job began here", hint="run `pybuild ci restore` before the job's first build")
    dest = CacheSpec(*began.dest)
    if job.pulls and dest.kind not in _KEPT_APART:
        sys.stdout.write("nothing is written: this job builds a pull request, and the cache is not its own\n")
        return 0
    sources = [CacheSpec(*values) for values in began.sources]
    if not shown("plain", lambda emit: save(job.name, sources, dest, emit)):
        sys.stdout.write("nothing is written: nothing was built\n")
    return 0
