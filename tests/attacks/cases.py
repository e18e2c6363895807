"""Every attack that the tests try, by its number: what is tried, and by which doors a stranger's code or data comes in.

A test says which it tries by `@pytest.mark.attack("S1", …)`; `test_cases.py` sees that each is tried through each of
its doors. A test through `door`, or of the sandbox that both doors use (`box`), is one of both; any other is one of a
build unless its mark says `by="run"` or `by="both"`.
"""

from __future__ import annotations

from typing import NamedTuple

BUILD, BOTH = ("build",), ("build", "run")


class Case(NamedTuple):
    """What is tried, and the doors by which it has to be tried: `build` (RUN, COPY, …) and `run` (`pybuild run`)."""

    what: str
    doors: tuple[str, ...] = BUILD


def _cases(letter: str, doors: tuple[str, ...], *texts: str) -> dict[str, Case]:
    return {f"{letter}{number}": Case(text, doors) for number, text in enumerate(texts, 1)}


CONTEXT = _cases(
    "C",
    BUILD,
    "COPY of a link that leads out of the context, relatively",
    "COPY of a link that leads out of the context, absolutely",
    "COPY through a linked directory",
    "COPY of ../file and /../../file",
    "links that lead out, within a directory that is copied",
    "the destination is a link in the image",
    "COPY --from of a link that leads above its stage",
    "the ignore file or the Buildfile is a link",
    "a directory and a link out take turns while it is copied",
    "a file changes between being hashed and being copied",
    "pipes, sockets, unreadable files, names that are no text, very many files",
    "patterns of an ignore file that backtrack",
    "a Git context whose subdirectory is a link, addresses that are options or run commands",
    "ADD of an address that redirects elsewhere, never ends, or has other bytes than it should",
    "hard links, also to files outside",
)
ARCHIVES = _cases(
    "T",
    BOTH,
    "an absolute name",
    "names with ..",
    "a link out, then a file through it",
    "the same by a relative link or one of /proc",
    "a hard link to a file outside",
    "a hard link to a link, then a file in its place",
    "device files, and one that overlay takes for a whiteout",
    "set-user-id files, which nobody on the machine may reach",
    "one name again and again as file and link",
    "a directory that becomes a link, then a file in it",
    "names, times, owners and sizes beyond every bound",
    "attributes that forge what overlay notes",
    "whiteouts of what they may not remove",
    "archives that unpack to very much, are cut short, damaged, or followed by something",
    "a sparse file without end",
    "zip archives with any of these",
    "the holes of Python's tarfile",
    "a mistake in unpacking that would write elsewhere",
)
SANDBOX = _cases(
    "S",
    BOTH,
    "a working directory behind a magic link of /proc",
    "an entry point that is /proc/self/exe, and writing to the programs of who is outside",
    "links or files of the image in the place of /dev, /proc, /sys, and of what is mounted in /etc",
    "/dev/null and /dev/console of the image are links; what covers /proc is not what it seems",
    "the source of a mount leads out of its tree",
    "a directory and a link out take turns where something is mounted, or mounted from",
    "a mount's target behind a link; what was made for it is removed afterwards",
    "mounts with options that are not known, and with an id that is a path",
    "more rights than whoever builds allows",
    "set-user-id programs and file capabilities",
    "mounting, joining namespaces, tracing, keyrings, typing for the user",
    "writing to /proc/sys, /sys, a release agent, the core pattern",
    "abstract sockets, shared memory and queues of the machine, and its loopback",
    "using up processes, memory, disk, descriptors, and output without end",
    "processes that go on in the background and hold the output open",
    "not ending when told to, stopping itself",
    "SIGKILL of the pybuild that started it",
    "users that are none, and a huge or wrong /etc/passwd",
    "an environment that changes what programs load",
    "modules and libraries of the image where the builder would load its own",
    "what is in the environment of who builds",
    "clocks that jump, files of the future",
)
REGISTRY = _cases(
    "R",
    BUILD,
    "bytes that are not those of the digest, too few, too many",
    "a layer whose content is not what the config says",
    "documents that are too large, too deep, or lead to each other",
    "a document that is a manifest and an index at once",
    "digests and names that would be paths",
    "redirects to elsewhere, and what is sent along",
    "a token server that is none, and what it gets to know",
    "layers that are to be had from any address",
    "401 for ever, waits without end, slow and compressed answers",
    "an upload that is led elsewhere",
    "a tag that moves between two requests",
    "links and pipes in the place of blobs in a layout or archive",
    "logins that show up elsewhere",
)
DISCLOSURE = _cases(
    "H",
    BUILD,
    "a secret is anywhere but in the step",
    "a secret's value is part of a key",
    "a step prints a secret",
    "build arguments that are secrets",
    "COPY of files that are secrets",
    "sequences that a terminal obeys, in output and names",
    "output that looks like pybuild's own",
    "a Buildfile.py that nobody meant to run, modules beside it",
    "a cache that was filled by a stranger",
    "two different steps with one key",
)
CRASHES = _cases(
    "K",
    BUILD,
    "many builds with one cold store",
    "prune beside a build",
    "locks of the dead and of those that do not move",
    "a full disk at each write",
    "damage of every kind in the store",
    "a store of somebody else, in odd places, under odd names",
    "more layers than a mount takes",
    "what an overlay that was not unmounted leaves",
    "clocks that are set back or far ahead, odd epochs",
    "signals twice, readers that go away, SIGKILL at any moment: what is left",
)
CASES = {**CONTEXT, **ARCHIVES, **SANDBOX, **REGISTRY, **DISCLOSURE, **CRASHES}
