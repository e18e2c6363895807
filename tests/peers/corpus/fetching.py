"""Cases of ADD from the web and from git, from the server `SITE`, in whose place stands the real one in a build."""

from __future__ import annotations

import hashlib

from tests.peers.case import SITE, Case
from tests.peers.corpus.adding import PLAIN

FILE = b"from the web\n"
RIGHT, WRONG = (f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (FILE, b"other"))

# What the server has, by path; `tests/peers/site.py` adds the repository `git/repo.git`.
PAGES = {"/dir/file.txt": FILE, "/p.tar": PLAIN, "/a%20b.txt": b"a b\n", "/": b"root\n"}
# Files of the repository's commits; each commit has a tag of its name, and the last is the branch `main`.
COMMITS = {
    "v1": {"a": "one\n", "sub/b": "b\n"},
    "v2": {"a": "two\n", "sub/deep/c": "c\n", ".hidden": "h\n"},
}

# The commit of the tag v1: names, times and files are the same each time.
V1 = "e9574e5d268dd0d1ce42315d880f1954034a046c"

CASES = (
    Case("add url to a directory", f"FROM busybox\nADD {SITE}/dir/file.txt /x/\n"),
    Case("add url to a name", f"FROM busybox\nADD {SITE}/dir/file.txt /x\n"),
    Case("add url to a directory that is there", f"FROM busybox\nADD {SITE}/dir/file.txt /tmp\n"),
    Case("add url over a file", f"FROM busybox\nRUN echo old > /x\nADD {SITE}/dir/file.txt /x\n"),
    Case("add url with a query", f"FROM busybox\nADD {SITE}/dir/file.txt?a=b&c=/d /x/\n"),
    Case("add url with a fragment", f"FROM busybox\nADD {SITE}/dir/file.txt#part /x/\n"),
    Case("add url with an encoded name", f"FROM busybox\nADD {SITE}/a%20b.txt /x/\n"),
    Case("add url without a name", f"FROM busybox\nADD {SITE}/ /x\nADD {SITE} /y\n"),
    Case("add url of an archive", f"FROM busybox\nADD {SITE}/p.tar /x/\n"),
    Case("add url that is not there", f"FROM busybox\nADD {SITE}/missing /x/\n"),
    Case("add url with its checksum", f"FROM busybox\nADD --checksum={RIGHT} {SITE}/dir/file.txt /x/\n"),
    Case("add url with another checksum", f"FROM busybox\nADD --checksum={WRONG} {SITE}/dir/file.txt /x/\n"),
    Case("add url with half a checksum", f"FROM busybox\nADD --checksum={RIGHT[:40]} {SITE}/dir/file.txt /x/\n"),
    Case("add file with a checksum", f"FROM busybox\nADD --checksum={RIGHT} f /x/\n", {"f": FILE}),
    Case(
        "add several with a checksum",
        f"FROM busybox\nADD --checksum={RIGHT} {SITE}/dir/file.txt {SITE}/p.tar /x/\n",
    ),
    Case(
        "add url with a checksum of a variable",
        f"FROM busybox\nARG SUM={RIGHT}\nADD --checksum=$SUM {SITE}/dir/file.txt /x/\n",
    ),
    Case("add url with an owner", f"FROM busybox\nADD --chown=app:staff {SITE}/dir/file.txt /x/\n"),
    Case("add url with a mode", f"FROM busybox\nADD --chmod=755 {SITE}/dir/file.txt /x/\n"),
    Case("add url of variables", f"FROM busybox\nARG N=file\nENV D=dir\nADD {SITE}/$D/${{N}}.txt /$N/\n"),
    Case(
        "add url and files",
        f"FROM busybox\nADD f {SITE}/dir/file.txt d p.tar /x/\n",
        {"f": "f\n", "d/in": "in\n", "p.tar": PLAIN},
    ),
    Case("add url that leads elsewhere", f"FROM busybox\nADD {SITE}/moved /x/\n"),
    Case("add url under WORKDIR and USER", f"FROM busybox\nUSER app\nWORKDIR /w\nADD {SITE}/dir/file.txt .\n"),
    Case("add url with link", f"FROM busybox\nADD --link {SITE}/dir/file.txt /new/x\n"),
    Case("add url twice", f"FROM busybox\nADD {SITE}/dir/file.txt /x\nADD {SITE}/dir/file.txt /y\n"),
    Case("copy url", f"FROM busybox\nCOPY {SITE}/dir/file.txt /x\n"),
    Case(
        "onbuild add url",
        f"FROM busybox AS b\nONBUILD ADD {SITE}/dir/file.txt /x/\nFROM b\nRUN cat /x/file.txt > /y\n",
    ),
    Case("add git", f"FROM busybox\nADD {SITE}/git/repo.git /x\n"),
    Case("add git of a tag", f"FROM busybox\nADD {SITE}/git/repo.git#v1 /x/\n"),
    Case("add git of a branch with a directory", f"FROM busybox\nADD {SITE}/git/repo.git#main:sub /x\n"),
    Case("add git of a directory alone", f"FROM busybox\nADD {SITE}/git/repo.git#:sub/deep /x\n"),
    Case("add git of a missing directory", f"FROM busybox\nADD {SITE}/git/repo.git#main:nope /x\n"),
    Case("add git of a missing ref", f"FROM busybox\nADD {SITE}/git/repo.git#nope /x\n"),
    Case("add git with an owner", f"FROM busybox\nADD --chown=app:staff {SITE}/git/repo.git#v1 /x\n"),
    Case("add git with a mode", f"FROM busybox\nADD --chmod=750 {SITE}/git/repo.git#v1 /x\n"),
    Case("add git of variables", f"FROM busybox\nARG R=v1\nADD {SITE}/git/repo.git#$R:sub /x\n"),
    Case("add git and a file", f"FROM busybox\nADD {SITE}/git/repo.git#v1 f /x/\n", {"f": "f\n"}),
    Case(
        "add git over what is there",
        f"FROM busybox\nRUN mkdir -m 700 -p /x/sub && echo o > /x/a\nADD {SITE}/git/repo.git#v1 /x\n",
    ),
    Case("add git with the start of a commit", f"FROM busybox\nADD --checksum={V1[:12]} {SITE}/git/repo.git#v1 /x\n"),
    Case("add git with another commit", f"FROM busybox\nADD --checksum={V1[:12]} {SITE}/git/repo.git#v2 /x\n"),
    Case("add url to be unpacked", f"FROM busybox\nADD --unpack {SITE}/p.tar /x\n"),
    Case("add url with keep-git-dir", f"FROM busybox\nADD --keep-git-dir=true {SITE}/dir/file.txt /x/\n"),
)
