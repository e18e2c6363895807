"""Where pybuild means to answer otherwise than docker 26, and why.

docs/reference/dockerfile-compatibility.md has a row for each. Three kinds: what a later BuildKit answers as well
("later"), what docker 26's store cannot do ("store"), and what pybuild answers better ("better"). A case stands here
with the answer that pybuild gives in place of docker's.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

# Directories that docker makes as places for its mounts and leaves in the layer of a RUN.
LEFT_BY_RUN = ("dev", "proc", "sys")

REFUSED: dict[str, Any] = {"error": "refused"}


def _made(history: list[str], files: dict[str, str]) -> dict[str, Any]:
    """The whole answer where docker 26 refuses: an image of the base with these files and instructions."""
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]}
    lines = [["busybox", False], *([f"{line} # buildkit", False] for line in history)]
    return {"error": None, "files": files, "gone": [], "config": config, "history": lines}


def _of_commit(*files: str, mode: str = "0644", owner: str = "0:0") -> tuple[dict[str, Any], str]:
    """Files of git, as path and content, with the time of their commit."""
    pairs = [file.split(" ") for file in files]
    lines = {f"files x/{path}": f'- {mode} {owner} "{text}\\n" @1600000000' for path, text in pairs}
    return lines, "better: a file of git has the time of its commit, not of the build"


def _made_with_mode(**modes: str) -> tuple[dict[str, Any], str]:
    """Directories that a COPY with a mode made, and their modes."""
    return {f"files {path}": f"d {mode} 0:0" for path, mode in modes.items()}, "later: --chmod is for them, too"


# Name of the case: what stands in place of docker's answer, and the reason. A key is a path into the answer,
# None as value takes what it leads to away.
JUSTIFIED: dict[str, tuple[dict[str, Any], str]] = {
    "add archive with an owner": (
        {
            "files x/implicit": "d 0755 77:1000",
            "files x/implicit/dir": "d 0755 77:1000",
            "files x/implicit/dir/g": '- 0644 77:1000 "g\\n" @1600000007',
            "files x/top": "d 0750 77:1000",
            "files x/top/f": '- 0640 77:1000 "f\\n" @1600000007 = x/top/f x/top/h',
            "files x/top/h": '- 0640 77:1000 "f\\n" @1600000007 = x/top/f x/top/h',
            "files x/top/l": "l 0777 77:1000 -> f @1600000007",
            "files x/top/run": '- 4755 77:1000 "r" @1600000007',
        },
        "later: --chown is for what is in the archive, too",
    ),
    "add archive with a whiteout name": (
        REFUSED,
        "better: no layer can hold such a file; docker leaves it out and deletes the one that it names",
    ),
    "stage named by a variable": (_made([], {}), "better: the name expands, so that a FOR makes several stages"),
    "onbuild of an unknown instruction": (REFUSED, "better: told at once, not by the build that comes after"),
    "copy chown of a group only": (REFUSED, "later: an unknown user is an error"),
    "copy chown of nobody": (REFUSED, "later: an unknown user is an error"),
    "copy chown of no group": (REFUSED, "later: an unknown group is an error"),
    "copy chmod of a variable": (
        {
            "files 3": '- 0711 0:0 "a\\n" @1600000000',
            "history 2 0": "COPY --chmod=711 a /3 # buildkit",
        },
        "later: --chmod is expanded",
    ),
    "copy chmod": _made_with_mode(**{"2": "0640", "6": "0777"}),
    "copy chmod of links": _made_with_mode(t="0700"),
    "copy chmod of all": _made_with_mode(**{"x": "0750", "y": "0750", "y/z": "0750"}),
    "copy chmod of the root of a stage": _made_with_mode(x="0750"),
    "copy heredocs of other kinds": (
        {"files d": "d 0711 77:50"},
        "later: --chmod is for directories that are made, too",
    ),
    "copy chmod out of range": (REFUSED, "later: a mode above 7777 is an error"),
    "copy xattrs": (
        {"files x/f": "- 0644 0:0 \"f\" @1600000000 user.note='hi'"},
        "better: docker's own store drops attributes of the user, BuildKit's keeps them",
    ),
    "copy link into a directory of another mode": (
        {"files tmp": "d 0755 0:0"},
        "store: docker's own store knows no --link, BuildKit's makes the directories above anew",
    ),
    "copy link over a symlink": (
        {"files l": "d 0755 0:0", "files l/a": '- 0644 0:0 "a\\n" @1600000000', "files tmp/a": None},
        "store: docker's own store knows no --link, BuildKit's puts a directory in the place of a link",
    ),
    "from bad platform": (REFUSED, "later: an empty --platform is an error"),
    "arg from another of its line": (
        {
            "history 1 0": "ARG A=1 B=1-2",
            "history 2 0": "ENV C=1-2",
            "config Env 1": "C=1-2",
        },
        "later: each ARG of a line sees those before it",
    ),
    "predefined arg of the stage": (
        {
            "files 1": '- 0644 0:0 "[default]\\n"',
            "history 2 0": "RUN |1 TARGETSTAGE=default /bin/sh -c echo [$TARGETSTAGE] > /1 # buildkit",
        },
        "later: the stage to build is known by TARGETSTAGE",
    ),
    "add git": _of_commit(".hidden h", "a two", "sub/b b", "sub/deep/c c"),
    "add git of a tag": _of_commit("a one", "sub/b b"),
    "add git of a branch with a directory": _of_commit("b b", "deep/c c"),
    "add git of a directory alone": _of_commit("c c"),
    "add git with an owner": _of_commit("a one", "sub/b b", owner="77:50"),
    "add git with a mode": _of_commit("a one", "sub/b b", mode="0750"),
    "add git of variables": _of_commit("b b"),
    "add git and a file": _of_commit("a one", "sub/b b"),
    "add git over what is there": _of_commit("a one", "sub/b b"),
    "add git with the start of a commit": (
        _made(
            ["ADD http://site.invalid/git/repo.git#v1 /x"],
            {
                "x": "d 0755 0:0",
                "x/a": '- 0644 0:0 "one\\n" @1600000000',
                "x/sub": "d 0755 0:0",
                "x/sub/b": '- 0644 0:0 "b\\n" @1600000000',
            },
        ),
        "later: --checksum is for commits, too",
    ),
    "add url to be unpacked": (
        _made(
            ["ADD http://site.invalid/p.tar /x"],
            {
                "x": "d 0755 0:0",
                "x/implicit": "d 0755 0:0",
                "x/implicit/dir": "d 0755 0:0",
                "x/implicit/dir/g": '- 0644 3:3 "g\\n" @1600000007',
                "x/top": "d 0750 12:12",
                "x/top/f": '- 0640 12:12 "f\\n" @1600000007 = x/top/f x/top/h',
                "x/top/h": '- 0640 12:12 "f\\n" @1600000007 = x/top/f x/top/h',
                "x/top/l": "l 0777 0:0 -> f @1600000007",
                "x/top/run": '- 4755 0:0 "r" @1600000007',
            },
        ),
        "later: --unpack",
    ),
    "add archive that is not to be unpacked": (
        _made(
            ["ADD p.tar /x/"],
            {
                "x": "d 0755 0:0",
                "x/p.tar": "- 0644 0:0 10240 sha256:ca0f335de82d938117554a0c0b00b7c422f9b554a8f07c03004c7340c5fff45a"
                " @1600000000",
            },
        ),
        "later: --unpack",
    ),
    "onbuild that copies from a stage of its user": (
        _made(["COPY /m /m"], {"m": '- 0644 0:0 "m\\n"'}),
        "later: a trigger may take from the stages of the file that it fires in",
    ),
    "run security sandbox": (
        _made(["RUN /bin/sh -c echo 1 > /1"], {"1": '- 0644 0:0 "1\\n"'}),
        "later: --security",
    ),
    "copy parents": (
        _made(
            ["COPY --parents d/sub/deep a /x/"],
            {
                "x": "d 0755 0:0",
                "x/a": '- 0644 0:0 "a\\n" @1600000000',
                "x/d": "d 0700 0:0",
                "x/d/sub": "d 0755 0:0",
                "x/d/sub/deep": '- 0644 0:0 "deep\\n" @1600000000',
            },
        ),
        "later: --parents",
    ),
    "copy parents from a point": (
        _made(
            ["COPY --parents ./d/./sub/deep /x/"],
            {"x": "d 0755 0:0", "x/sub": "d 0755 0:0", "x/sub/deep": '- 0644 0:0 "deep\\n" @1600000000'},
        ),
        "later: --parents",
    ),
    "copy parents of wildcards": (
        _made(
            ["COPY --parents **/d*p *.txt /x/"],
            {
                "x": "d 0755 0:0",
                "x/b.txt": '- 0600 0:0 "b\\n" @1600000000',
                "x/d": "d 0755 0:0",
                "x/d/sub": "d 0755 0:0",
                "x/d/sub/deep": '- 0644 0:0 "deep\\n" @1600000000',
            },
        ),
        "later: --parents",
    ),
    "copy without what is excluded": (
        _made(
            ["COPY . /x/"],
            {
                "x": "d 0755 0:0",
                "x/.dot": '- 0644 0:0 "dot\\n" @1600000000',
                "x/Dockerfile": '- 0644 0:0 "FROM busybox\\nCOPY --exclude=*.txt --exclude=**/deep --exclude=e . /x/'
                '\\n" @1600000000',
                "x/a": '- 0644 0:0 "a\\n" @1600000000',
                "x/d": "d 0755 0:0",
                "x/d/.hidden": '- 0644 0:0 "h\\n" @1600000000',
                "x/d/empty": "d 0755 0:0",
                "x/d/one": '- 0644 0:0 "1\\n" @1600000000',
                "x/d/sub": "d 0755 0:0",
                "x/d/two": '- 0640 0:0 "2\\n" @1600000000',
                "x/run.sh": '- 0755 0:0 "#!/bin/sh\\n" @1600000000',
            },
        ),
        "later: --exclude",
    ),
    "copy with modes in words": (
        {"files x/f": '- 0644 0:0 "f" @1600000000', "files x/r": '- 0755 0:0 "r" @1600000000'},
        "later: --chmod takes words, which docker 26 passes over without a word",
    ),
}


def expected(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Docker's stored answer to a case, with what pybuild means to answer otherwise."""
    wanted = deepcopy(answer)
    if "files" in wanted:
        for path in LEFT_BY_RUN:
            if wanted["files"].get(path) == "d 0755 0:0":
                del wanted["files"][path]
    changes, _ = JUSTIFIED.get(name, ({}, ""))
    for key, value in changes.items():
        place: Any = wanted
        *steps, last = key.split(" ")
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if value is None:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return wanted
