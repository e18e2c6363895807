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
