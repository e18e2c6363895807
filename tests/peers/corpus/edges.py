"""Cases of the edges: what an instruction just refuses or just takes, numbers as names, odd patterns."""

from __future__ import annotations

from tests.peers.case import Case, File

TREE = {"a": "a", "d/b": "b", "d/e/c": "c", "#x": "x"}
# `ARG` and `STOPSIGNAL` read flags over; these refuse one that they do not know, or any.
STRICT = {
    "FROM": "busybox",
    "ADD": "a /",
    "CMD": "true",
    "COPY": "a /",
    "ENTRYPOINT": "true",
    "ENV": "A=1",
    "EXPOSE": "1",
    "HEALTHCHECK": "CMD true",
    "LABEL": "a=b",
    "MAINTAINER": "me",
    "ONBUILD": "RUN true",
    "RUN": "true",
    "SHELL": '["sh"]',
    "USER": "1",
    "VOLUME": "/v",
    "WORKDIR": "/w",
}


def _ignored(name: str, patterns: str) -> Case:
    return Case(f"ignore {name}", "FROM scratch\nCOPY . /\n", {**TREE, ".dockerignore": patterns})


CASES = (
    *(
        Case(f"flag that {keyword} does not know", f"FROM busybox\n{keyword} --nope {rest}\n", TREE)
        for keyword, rest in STRICT.items()
    ),
    Case("stage named by a variable", "ARG N=x\nFROM busybox AS $N\n"),
    Case("unknown instruction in a stage that is not used", "FROM busybox AS a\nNOPE x\nFROM busybox\n"),
    Case(
        "platform arg of the command line",
        "FROM busybox\nARG TARGETARCH\nRUN echo $TARGETARCH > /1\n",
        options=("--build-arg", "TARGETARCH=mine"),
    ),
    Case("copy from minus one", "FROM busybox\nCOPY --from=-1 /bin /b\n"),
    Case("copy from its own stage by number", "FROM busybox\nCOPY --from=0 /bin/sh /b\n"),
    Case("copy from a number with a sign", "FROM busybox\nRUN echo a > /a\nFROM busybox\nCOPY --from=+0 /a /b\n"),
    Case("copy from nothing", "FROM busybox\nCOPY --from= a /b\n", TREE),
    Case("copy from scratch", "FROM busybox\nCOPY --from=scratch / /b\n"),
    Case("copy of an unset variable", "FROM busybox\nCOPY $UNSET /x\n", TREE),
    Case("workdir of unset variables", "FROM busybox\nWORKDIR /w\nWORKDIR $A/$B\nRUN pwd > /1\n"),
    Case(
        "owners of directories that WORKDIR makes",
        """\
FROM busybox
USER 7:8
WORKDIR /a/b/c
USER 0
RUN stat -c '%u %g %a' /a /a/b /a/b/c > /1
""",
    ),
    Case("healthcheck with retries below zero", "FROM busybox\nHEALTHCHECK --retries=-1 CMD true\n"),
    Case("healthcheck none with words", "FROM busybox\nHEALTHCHECK NONE true\n"),
    Case("cmd of nothing", "FROM busybox\nCMD\n"),
    Case("entrypoint of nothing", "FROM busybox\nENTRYPOINT\n"),
    Case("cmd of an empty list", "FROM busybox\nCMD []\n"),
    Case(
        "onbuild does not see the args of the child",
        "FROM busybox AS a\nONBUILD RUN echo [$X] > /1\nFROM a\nARG X=1\nRUN echo [$X] > /2\n",
    ),
    Case("scratch has a path and a root", "FROM scratch\nCOPY a /\n", TREE),
    Case(
        "heredoc of another program, its mode",
        """\
FROM busybox
RUN <<EOF
#!/bin/sh
stat -c %a $0 > /1
(echo x > $0) 2>/dev/null; echo $? > /2
EOF
""",
    ),
    Case("heredoc keeps carriage returns", "FROM busybox\nCOPY <<EOF /1\na\r\nb\r\nEOF\n"),
    Case("add of a file keeps its time", "FROM busybox\nADD f /f\nCOPY f /g\n", {"f": File("f", time=1_500_000_000)}),
    Case("root of an empty filesystem", "FROM scratch\nCOPY --chown=root:root a /a\nCOPY --chown=0:root a /b\n", TREE),
    Case(
        "root of a filesystem without users",
        "FROM busybox\nRUN rm -f /etc/passwd /etc/group\nCOPY --chown=root a /a\nUSER root\nWORKDIR /w\n",
        TREE,
    ),
    Case("name of an ARG with a variable", "FROM busybox\nENV X=foo\nARG Y_$X=1\nRUN echo $Y_foo > /1\n"),
    Case(
        "name of an ARG with a variable, given",
        "FROM busybox\nENV X=foo\nARG Y_$X\nRUN echo $Y_foo > /1\n",
        options=("--build-arg", "Y_foo=cli"),
    ),
    Case("name of an ARG in quotes", "FROM busybox\nARG 'S'=2 \"T\"=3 U\\V=4\nRUN echo $S $T $UV > /1\n"),
    Case("wildcard in a directory that is not there", "FROM busybox\nCOPY missing/* /x/\n", TREE),
    Case("wildcard further down one that is not there", "FROM busybox\nCOPY a d/no/*.txt /x/\n", TREE),
    Case(
        "wildcard in a directory of a stage that is not there",
        "FROM busybox AS b\nFROM busybox\nCOPY --from=b /ou/* /x/\n",
    ),
    Case(
        "wildcard in an empty directory",
        "FROM busybox AS b\nRUN mkdir /out\nFROM busybox\nCOPY --from=b /out/* /x/\nRUN touch /1\n",
    ),
    Case("wildcard in a file", "FROM busybox\nCOPY a/* /x/\nRUN touch /1\n", TREE),
    Case("wildcard below what matches nothing", "FROM busybox\nCOPY no*/* /x/\nRUN touch /1\n", TREE),
    Case("tabs of a heredoc that the shell strips", "FROM busybox\nRUN cat <<-EOF > /1\n\tone\\\n\ttwo\n\tEOF\n"),
    Case(
        "workdir through a link to nothing",
        """\
FROM busybox
RUN ln -s /made/deep /appl
USER 7:8
WORKDIR /appl/sub
USER 0
RUN stat -c '%u %g %a' /made /made/deep /made/deep/sub > /1
""",
    ),
    _ignored("of a slash", "/\n"),
    _ignored("of a way up", "..\n"),
    _ignored("of a way in and up", "d/..\n"),
    _ignored("of dots and slashes", "./..//d\n"),
    _ignored("of two double stars", "**/**\n"),
    _ignored("of a comment sign", "#x\n"),
    _ignored("of a comment sign that is escaped", "\\#x\n"),
    _ignored("of a space and a comment sign", " #x\n"),
    _ignored("of an exception alone", "!a\n"),
    _ignored("of a trailing slash", "d/\n"),
    _ignored("of a class that is not closed", "[a\n"),
)
