"""Cases of COPY: what is selected, where it lands, whose it is and how it may be used."""

from __future__ import annotations

from tests.peers.case import Case, Dir, File, Hard, Link, Pipe

TREE = {
    "a": "a\n",
    "b.txt": File("b\n", 0o600),
    "run.sh": File("#!/bin/sh\n", 0o755),
    ".dot": "dot\n",
    "d/one": "1\n",
    "d/two": File("2\n", 0o640),
    "d/.hidden": "h\n",
    "d/sub/deep": "deep\n",
    "d/empty": Dir(),
    "e/one": "other one\n",
    "e/three": "3\n",
}
MODES = {
    "m/suid": File("s", 0o4755),
    "m/sgid": File("g", 0o2755),
    "m/none": File("n", 0o444),
    "m/sticky": Dir(0o1777),
    "m/setgid": Dir(0o2775),
    "m/private": Dir(0o700),
    "m/private/key": File("k", 0o400),
}
LINKS = {
    "real/f": "f\n",
    "tofile": Link("real/f"),
    "todir": Link("real"),
    "dangling": Link("nowhere"),
    "absolute": Link("/real/f"),
    "t/rel": Link("../real/f"),
    "t/abs": Link("/etc/passwd"),
    "t/gone": Link("gone"),
    "t/up": Link("../../../../etc/group"),
}

CASES = (
    Case("copy file to a name", "FROM busybox\nCOPY a /x\nCOPY a /new/dir/y\n", TREE),
    Case("copy file to a directory", "FROM busybox\nCOPY a b.txt /new/\nCOPY a /tmp\nCOPY a /etc/\nCOPY a .\n", TREE),
    Case("copy directory", "FROM busybox\nCOPY d /d\nCOPY d /p/q/\nCOPY d/ /r\nCOPY d/sub /s/.\n", TREE),
    Case("copy all", "FROM busybox\nWORKDIR /w\nCOPY . .\n", TREE),
    Case("copy all to root", "FROM busybox\nCOPY . /\n", {**TREE, "etc/motd": "hi\n", "tmp/x": "x", "root/y": "y"}),
    Case("copy several sources", "FROM busybox\nCOPY a d e /m/\n", TREE),
    Case("copy several to a name without slash", "FROM busybox\nCOPY a b.txt /dst\n", TREE),
    Case("copy file then directory to a name", "FROM busybox\nCOPY a d /dst\n", TREE),
    Case("copy wildcards", "FROM busybox\nCOPY *.txt /1/\nCOPY ?* /2/\nCOPY d/* /3/\nCOPY [a-c]* /4/\n", TREE),
    Case("copy wildcard directories", "FROM busybox\nCOPY [de] /x/\nCOPY */one /y/\nCOPY d/s* /z/\n", TREE),
    Case("copy wildcard of nothing", "FROM busybox\nCOPY z* /x/\nCOPY a z* /y/\nCOPY a*/missing /z/\n", TREE),
    Case("copy negated class", "FROM busybox\nCOPY [^a-c]* /x/\n", TREE),
    Case(
        "copy escaped wildcard", 'FROM busybox\nCOPY q\\[1\\] /x/\nCOPY ["q[[]1]", "/y/"]\n', {"q[1]": "q", "q1": "no"}
    ),
    Case("copy dotfiles", "FROM busybox\nCOPY .* /x/\nCOPY d/.hidden /y\n", TREE),
    Case("copy missing", "FROM busybox\nCOPY missing /x\n", TREE),
    Case("copy missing of several", "FROM busybox\nCOPY a missing /x/\n", TREE),
    Case("copy above the context", "FROM busybox\nCOPY ../../a /x\nCOPY /b.txt /y\nCOPY ./d/../a /z\n", TREE),
    Case("copy json form with spaces", 'FROM busybox\nCOPY ["a b", "c  d", "/x y/"]\n', {"a b": "1", "c  d": "2"}),
    Case("copy unicode", "FROM busybox\nCOPY ä* /ö/\nCOPY ä/ü /é\n", {"ä/ü": "u", "äa": "a"}),
    Case(
        "copy chown",
        """
FROM busybox
COPY --chown=app a /1
COPY --chown=app:staff a /2
COPY --chown=55 a /3
COPY --chown=55:66 a /4
COPY --chown=app:66 d /new/6
COPY --chown=0:staff a /made/too/7
COPY --chown=1000:app d /tmp
""",
        TREE,
    ),
    Case("copy chown of a group only", "FROM busybox\nCOPY --chown=:66 a /1\n", TREE),
    Case("copy chown of a variable", "FROM busybox\nARG WHO=app\nCOPY --chown=$WHO:${G:-50} a /1\n", TREE),
    Case("copy chown of nobody", "FROM busybox\nCOPY --chown=nosuch a /1\n", TREE),
    Case("copy chown of no group", "FROM busybox\nCOPY --chown=app:nosuch a /1\n", TREE),
    Case("copy chown of a number without a name", "FROM scratch\nCOPY --chown=7 a /1\nCOPY --chown=7:8 d /2\n", TREE),
    Case("copy chown of a name in scratch", "FROM scratch\nCOPY --chown=app a /1\n", TREE),
    Case(
        "copy chown of a user made before",
        "FROM busybox\nRUN echo late:x:1234:1000::/:/bin/sh >> /etc/passwd\nCOPY --chown=late a /1\n",
        TREE,
    ),
    Case(
        "copy chmod",
        """
FROM busybox
COPY --chmod=755 a /1
COPY --chmod=0640 d /2
COPY --chmod=4755 a /4
COPY --chmod=600 --chown=app a /5
COPY --chmod=1777 d/empty /6
""",
        TREE,
    ),
    Case("copy chmod of a variable", "FROM busybox\nARG M=711\nCOPY --chmod=$M a /3\n", TREE),
    Case("copy chmod out of range", "FROM busybox\nCOPY --chmod=77777 a /1\n", TREE),
    Case("copy chmod of links", "FROM busybox\nCOPY --chmod=700 t /t\n", LINKS),
    Case("copy modes", "FROM busybox\nCOPY m /m\nCOPY m/suid m/private /n/\nCOPY m/sticky /o\n", MODES),
    Case(
        "copy into directories of other modes",
        """
FROM busybox
RUN mkdir -m 700 /t && mkdir -m 711 /t/sub && chown 5:6 /t /t/sub && echo old > /t/one && chmod 600 /t/one
COPY d /t
""",
        TREE,
    ),
    Case("copy under USER", "FROM busybox\nUSER app\nCOPY a /x\nCOPY d /y\nWORKDIR /w/v\nCOPY a .\n", TREE),
    Case("copy symlink sources", "FROM busybox\nCOPY tofile /1\nCOPY todir /2\nCOPY tofile /3/\n", LINKS),
    Case("copy dangling symlink source", "FROM busybox\nCOPY dangling /1\n", LINKS),
    Case("copy absolute symlink source", "FROM busybox\nCOPY absolute /1\n", LINKS),
    Case("copy through a symlink", "FROM busybox\nCOPY todir/f /1\nCOPY todir/* /2/\n", LINKS),
    Case("copy symlinks by wildcard", "FROM busybox\nCOPY to* /1/\n", LINKS),
    Case("copy symlinks in a tree", "FROM busybox\nCOPY t /t\n", LINKS),
    Case("copy dangling symlink by wildcard", "FROM busybox\nCOPY dang* /1/\n", LINKS),
    Case(
        "copy to a symlink",
        """
FROM busybox
RUN mkdir /real && ln -s real /l && echo 1 > /real/f && ln -s real/f /lf && ln -s nowhere /dangling
COPY a /l
COPY a /l/under
COPY d /l
COPY b.txt /lf
COPY a /dangling
COPY a /lib/x
COPY d/sub /lib
""",
        TREE,
    ),
    Case(
        "copy to symlinks that leave the root",
        """
FROM busybox
RUN ln -s ../../../../tmp /up && ln -s /../../var /var2
COPY a /up/
COPY a /var2/x
COPY d /up/d
""",
        TREE,
    ),
    Case("copy to a circle of symlinks", "FROM busybox\nRUN ln -s y /x && ln -s x /y\nCOPY a /x/\n", TREE),
    Case("copy file over directory", "FROM busybox\nRUN mkdir -p /x/a/in\nCOPY a /x/\n", TREE),
    Case("copy directory over file", "FROM busybox\nRUN echo > /x\nCOPY d /x\n", TREE),
    Case("copy directory over file below", "FROM busybox\nRUN mkdir /x && echo > /x/sub\nCOPY d /x\n", TREE),
    Case(
        "copy tree with a directory where a symlink is",
        "FROM busybox\nRUN mkdir /o /x && ln -s ../o /x/sub\nCOPY d /x\n",
        TREE,
    ),
    Case("copy tree with a symlink where a directory is", "FROM busybox\nRUN mkdir -p /x/rel\nCOPY t /x\n", LINKS),
    Case(
        "copy file where a symlink is, in a tree",
        "FROM busybox\nRUN mkdir /x && ln -s /etc/group /x/one\nCOPY d /x\n",
        TREE,
    ),
    Case("copy below a file", "FROM busybox\nCOPY a /etc/passwd/x\n", TREE),
    Case("copy to a file with a slash", "FROM busybox\nCOPY a /etc/passwd/\n", TREE),
    Case("copy over a hard link", "FROM busybox\nRUN echo 1 > /x && ln /x /y\nCOPY a /x\n", TREE),
    Case(
        "copy hard links",
        "FROM busybox\nCOPY h /h\nCOPY h/1 h/2 /i/\n",
        {"h/1": "same", "h/2": Hard("h/1"), "h/3": "same"},
    ),
    Case(
        "copy hard links from a stage",
        """
FROM busybox AS s
RUN mkdir /h && echo 1 > /h/1 && ln /h/1 /h/2 && ln /h/1 /3
FROM scratch
COPY --from=s /h /h
COPY --from=s /3 /h/1 /i/
""",
    ),
    Case("copy pipe", "FROM busybox\nCOPY p /p\n", {"p/pipe": Pipe(), "p/f": "f"}),
    Case(
        "copy times",
        "FROM busybox\nCOPY t /t\nCOPY t/zero /z\n",
        {"t/zero": File("z", time=0), "t/ns": File("n", time=1_500_000_000.25), "t/old": File("o", time=-100_000_000)},
    ),
    Case("copy xattrs", "FROM busybox\nCOPY x /x\n", {"x/f": File("f", xattrs={"user.note": b"hi"})}),
    Case("copy empty directory", "FROM busybox\nCOPY d/empty /x\nCOPY d/empty /y/\nCOPY d/empty /tmp\n", TREE),
    Case(
        "copy long names",
        "FROM scratch\nCOPY n /n\n",
        {"n/" + "x" * 120: "1", "n/" + "/".join("y" * 60 for _ in range(4)): "2", "n/l": Link("z" * 150)},
    ),
    Case(
        "copy from stage",
        """
FROM busybox AS one
RUN mkdir -p /o/sub && echo 1 > /o/f && chown -R 77:5 /o && chmod 2750 /o/sub && ln -s f /o/l && ln -s o /lo
FROM busybox AS two
COPY --from=one /o /p
COPY --from=0 /o/f /q/
COPY --from=ONE o/f /r
COPY --from=one --chown=app /o /s
COPY --from=one /lo /t
COPY --from=one /lo/f /o/l /u/
FROM two
COPY --from=1 /p/f /v
""",
    ),
    Case(
        "copy root of a stage",
        "FROM busybox AS s\nRUN rm -r /bin && echo 1 > /x && mkdir -m 700 /k\nFROM scratch\nCOPY --from=s / /\n",
    ),
    Case("copy from missing stage", "FROM busybox\nCOPY --from=3 /x /y\n"),
    Case("copy from a later stage", "FROM busybox\nCOPY --from=later /etc/passwd /y\nFROM busybox AS later\n"),
    Case("copy from itself", "FROM busybox AS me\nCOPY --from=me /etc/passwd /y\n"),
    Case(
        "copy from a variable", "ARG S=one\nFROM busybox AS one\nFROM busybox\nARG S\nCOPY --from=$S /etc/passwd /y\n"
    ),
    Case("copy from an image", "FROM scratch\nCOPY --from=busybox /etc/passwd /home/ /x/\n"),
    Case("copy from a missing file of a stage", "FROM busybox AS s\nFROM busybox\nCOPY --from=s /nope /x\n"),
    Case(
        "copy from a named context",
        "FROM busybox\nCOPY --from=extra . /x/\nCOPY --from=extra n/f /y\n",
        {"side/n/f": File("f", 0o640), "side/g": "g", "a": "not this"},
        ("--build-context", "extra=side"),
    ),
    Case(
        "copy variables",
        "FROM busybox\nENV S=a D=/dest\nARG X=b\nCOPY $S ${X}.txt $D/${NO}/\nCOPY d/${Y:-one} /z\n",
        TREE,
    ),
    Case(
        "copy heredocs",
        """
FROM busybox
ENV NAME=world
ARG N=2
COPY <<one <<"two" <<-three /h/
hello $NAME ${N} ${NO:-none} \\$x \\n "quoted" 'single' `tick`
one
hello $NAME \\n
two
		tabs	in
three
COPY --chown=app --chmod=750 <<EOF /usr/bin/tool
#!/bin/sh
echo $NAME
EOF
COPY <<EOF a /mixed/
mixed
EOF
COPY <<empty /empty
empty
""",
        TREE,
    ),
    Case(
        "copy heredocs of other kinds",
        """
FROM busybox
ENV V=value
COPY <<-EOF /tabs
		one $V
	two
	EOF
COPY --chmod=711 --chown=app:staff <<'EOF' <<"TWO" /d/
$V \\n
EOF
\\$V
TWO
COPY <<EOF a /e/
# no comment
EOF
COPY <<E"O"F /f
$V
EOF
""",
        TREE,
    ),
    Case("copy heredoc to itself", "FROM busybox\nCOPY a <<EOF\nx\nEOF\n", TREE),
    Case("copy heredoc without an end", "FROM busybox\nCOPY <<EOF /x\nx\n"),
    Case("copy link of a directory", "FROM busybox\nCOPY --link d /new/d\nCOPY --link a b.txt /new/\n", TREE),
    Case("copy link from a stage", "FROM busybox AS s\nRUN echo 1 > /1\nFROM scratch\nCOPY --link --from=s /1 /x/\n"),
    Case("copy link false", "FROM busybox\nRUN ln -s tmp /l\nCOPY --link=false a /l/a\n", TREE),
    Case("copy link empty", "FROM busybox\nCOPY --link= a /x\n", TREE),
    Case("copy chmod of all", "FROM busybox\nCOPY --chmod=750 . /x\nCOPY --chmod=750 . /y/z\n", {"a": "a", "d/f": "f"}),
    Case(
        "copy chmod of the root of a stage",
        "FROM scratch AS s\nCOPY d /d\nFROM busybox\nCOPY --chmod=750 --from=s / /x\n",
        {"d/f": "f"},
    ),
    Case("copy parents", "FROM busybox\nCOPY --parents d/sub/deep a /x/\n", {**TREE, "d": Dir(0o700)}),
    Case("copy parents from a point", "FROM busybox\nCOPY --parents ./d/./sub/deep /x/\n", TREE),
    Case("copy parents of wildcards", "FROM busybox\nCOPY --parents **/d*p *.txt /x/\n", TREE),
    Case("copy parents of what is missing", "FROM busybox\nCOPY --parents d/missing /x/\n", TREE),
    Case(
        "copy without what is excluded",
        "FROM busybox\nCOPY --exclude=*.txt --exclude=**/deep --exclude=e . /x/\n",
        TREE,
    ),
    Case(
        "copy with modes in words",
        "FROM busybox\nCOPY --chmod=u=rwX,go=rX d /x\n",
        {"d/f": File("f", 0o600), "d/r": File("r", 0o711)},
    ),
    Case("copy nothing", "FROM busybox\nCOPY a\n", TREE),
    Case("copy unknown flag", "FROM busybox\nCOPY --nope=1 a /a\n", TREE),
    Case("copy link", "FROM busybox\nRUN ln -s tmp /l\nCOPY --link a /x/y\nCOPY --link --chown=5:6 d /z/d\n", TREE),
    Case("copy link into a directory of another mode", "FROM busybox\nCOPY --link a /tmp/\n", TREE),
    Case("copy link over a symlink", "FROM busybox\nRUN ln -s tmp /l\nCOPY --link a /l/a\n", TREE),
    Case(
        "copy to the working directory",
        "FROM busybox\nWORKDIR /w\nCOPY a x\nCOPY d y/\nCOPY a ./z/\nCOPY a ../up\nWORKDIR rel\nCOPY b.txt .\n",
        TREE,
    ),
    Case(
        "copy to a working directory that is a symlink",
        "FROM busybox\nRUN mkdir /real && ln -s real /l\nWORKDIR /l\nCOPY a .\nCOPY a sub/\n",
        TREE,
    ),
    Case("copy twice the same", "FROM busybox\nCOPY a /x\nCOPY a /x\nCOPY d /d\nCOPY d /d\n", TREE),
)
