"""Cases of FROM, of stages, of lines and directives, and of what is not a Dockerfile."""

from __future__ import annotations

from tests.peers.case import Case

CASES = (
    Case(
        "stages",
        "FROM busybox AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\nFROM scratch\nCOPY --from=b /a /b /\n",
    ),
    Case("stage that is not used", "FROM busybox AS unused\nRUN false\nFROM busybox\nRUN echo 1 > /1\n"),
    Case(
        "stage by target",
        "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS two\nRUN false\n",
        options=("--target", "one"),
    ),
    Case(
        "stage by target in capitals",
        "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS two\nRUN false\n",
        options=("--target", "ONE"),
    ),
    Case(
        "stage by target number",
        "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS two\nRUN false\n",
        options=("--target", "0"),
    ),
    Case("target that is not there", "FROM busybox AS one\n", options=("--target", "nope")),
    Case(
        "stage name twice",
        "FROM busybox AS x\nRUN echo 1 > /1\nFROM busybox AS x\nRUN echo 2 > /2\nFROM x\nRUN echo 3 > /3\n",
    ),
    Case("stage name in capitals", "FROM busybox AS Base\nRUN echo 1 > /1\nFROM busybox\nCOPY --from=BASE /1 /2\n"),
    Case("stage with a bad name", "FROM busybox AS 1st\n"),
    Case("stage named scratch", "FROM busybox AS s\nFROM scratch\nCOPY --from=s /etc/passwd /p\n"),
    Case("from platform", "FROM --platform=$TARGETPLATFORM busybox\nRUN echo 1 > /1\n"),
    Case("from bad platform", "FROM --platform= busybox\n"),
    Case("from unknown flag", "FROM --nope=1 busybox\n"),
    Case("from with too much", "FROM busybox AS x y\n"),
    Case("from a name that cannot be", "FROM Busy:BOX:x\n"),
    Case("instruction before FROM", "RUN true\nFROM busybox\n"),
    Case("only comments", "# nothing\n"),
    Case("unknown instruction", "FROM busybox\nRUM true\n"),
    Case("lower case", 'from busybox as x\nrun echo 1 > /1\ncmd ["a"]\nfrom x\nenv a=1\n'),
    Case(
        "comments and continuations",
        """
# comment
  # indented comment
FROM busybox
   RUN echo a \\
# in between
      b \\
   # indented

      c > /1
ENV X=1 \\  \x20
    Y=2
RUN echo "# no comment" > /2 # comment of the shell
LABEL a="x \\
  y"
RUN echo one\\
two > /3
RUN echo end \\\\
""",
    ),
    Case("continuation at the end", "FROM busybox\nRUN echo 1 > /1 \\\n"),
    Case(
        "escape directive",
        """
# escape=`
FROM busybox
RUN echo a `
  b > /1
ENV A=x`$y B=a`\\b C=a\\b D="q`"q"
WORKDIR /a\\b
RUN echo 'a\\\\b' > /2
COPY <<EOF /3
x\\$A `$B $C
EOF
""",
    ),
    Case("escape directive of a bad character", "# escape=x\nFROM busybox\n"),
    Case("escape directive too late", "# a comment\n# escape=`\nFROM busybox\nRUN echo a \\\n b > /1\n"),
    Case("directive twice", "# escape=`\n# escape=`\nFROM busybox\n"),
    Case("carriage returns", "FROM busybox\r\nRUN echo a > /1 && \\\r\n echo b > /2\r\nENV A=1\r\n"),
    Case("byte order mark", "\ufeffFROM busybox\nRUN echo 1 > /1\n"),
    Case("tabs", "FROM\tbusybox\nRUN\techo\ta\t>\t/1\nENV\tA=1\tB=2\nCOPY\ta\t/a\n", {"a": "a"}),
    Case("no newline at the end", "FROM busybox\nRUN echo 1 > /1\nCMD x"),
    Case(
        "dockerfile elsewhere",
        "FROM nothing\n",
        {"sub/My.dockerfile": "FROM busybox\nCOPY a /a\n", "a": "a"},
        ("-f", "sub/My.dockerfile"),
    ),
    Case(
        "heredoc delimiters",
        """
FROM busybox
COPY <<A-B <<C.d <<-'E' /x/
$HOME
A-B
$HOME
C.d
	$HOME
	E
RUN echo "<<NO" > /1; echo 2 <<< x > /2 || true
RUN cat 0<<EOF > /3
fd
EOF
""",
    ),
    Case(
        "named contexts in place of a stage and an image",
        """
FROM scratch AS one
COPY a /of-the-stage
FROM one AS based
FROM busybox
COPY --from=ONE / /1/
COPY --from=based / /2/
COPY --from=docker.io/library/thing:latest / /3/
RUN --mount=from=one,target=/m --mount=from=thing,target=/n ls /m /n > /4
""",
        {"a": "a", "side/f": "f", "other/g": "g"},
        ("--build-context", "one=side", "--build-context", "thing=other"),
    ),
    Case("heredocs of one name", "FROM busybox\nENV V=v\nCOPY <<A <<'A' /x/\n1 $V\nA\n2 $V\nA\n"),
    Case(
        "heredocs with carriage returns",
        "FROM busybox\r\nCOPY <<A /1\r\nline\r\nA\r\nRUN cat <<B > /2\r\nline\r\nB\r\n",
    ),
    Case(
        "heredoc bodies continue nothing",
        """
FROM busybox
COPY <<A <<'B' /x/
one \\
# no comment \\

two
A
one \\
two
B
RUN <<EOF
echo "a \\
# b" > /1
EOF
""",
    ),
    Case("heredoc of a name with spaces", "FROM busybox\nRUN cat <<'A B' > /1\n$HOME\nA B\n"),
    Case("heredocs without a command", "FROM busybox\nRUN <<A <<B\necho 1 > /1\nA\necho 2 > /2\nB\n"),
    Case("heredoc behind a space", "FROM busybox\nRUN cat << EOF > /1\nx\nEOF\n"),
    Case("heredoc on a continued line", "FROM busybox\nRUN \\\n  <<EOF\necho 1 > /1\nEOF\n"),
    Case("heredoc named as a path", "FROM busybox\nCOPY <<'etc/A' /x/\na\netc/A\n"),
    Case("heredoc named as a path from the root", "FROM busybox\nCOPY <</A /x/\na\n/A\n"),
    Case("heredoc named as a path upwards", "FROM busybox\nCOPY <<../../A /x/\na\n../../A\n"),
    Case("heredoc named as a directory", "FROM busybox\nCOPY <<. /x/\na\n.\n"),
    Case("heredoc named as a path to a file", "FROM busybox\nCOPY <<tmp/A /x\na\ntmp/A\n"),
    Case("heredoc of a script named as a path", "FROM busybox\nRUN <<a/b\n#!/bin/sh\necho $0 > /1\na/b\n"),
)
