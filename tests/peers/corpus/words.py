"""Cases of ENV, ARG and the expansion of words."""

from __future__ import annotations

from tests.peers.case import Case

CASES = (
    Case(
        "env forms",
        """
FROM busybox
ENV A=1 B="two words" C=three\\ words D='$A' E="$A" F=
ENV old  style   value "quoted"  with $A
ENV A=2 G=$A H=$G
ENV PATH=/extra:$PATH
ENV Q="a\\"b" R='a"b' S=a\\\\b T="a\\$A" U=a"b c"d
ENV multi=1 \\
    line=2
RUN env | grep -v -e ^HOSTNAME -e ^SHLVL -e ^OLDPWD | sort > /env
""",
    ),
    Case("env without a value", "FROM busybox\nENV A\n"),
    Case("env of a pair and a word", "FROM busybox\nENV A=1 B\n"),
    Case("env without a name", "FROM busybox\nENV =1\n"),
    Case("env with an open quote", 'FROM busybox\nENV A="x\n'),
    Case(
        "expansions",
        """
FROM busybox
ENV S=aXbXc EMPTY= P=/usr/local/bin/tool.tar.gz
ENV E1=${UNSET:-d} E2=${EMPTY:-d} E3=${EMPTY-d} E4=${S:+alt} E5=${UNSET:+alt} E6=${EMPTY+alt} E7=${S:-${UNSET:-x}}
ENV F1=${P#*/} F2=${P##*/} F3=${P%.*} F4=${P%%.*} F5=${S/X/-} F6=${S//X/-} F7=${S/b*/} F8=${S#?}
ENV G1=$S$EMPTY G2=${S}x G3=\\$S G4="\\$S" G5='${S}' G6=$ G7=a$ G8=$UNSET/$S G9=${UNSET}
ENV H1=a\\tb H2="a\\tb" H3='a\\tb' H4=$10 H5=$1x H6="${S}'s" H7=a'$S'b"$S"c
""",
    ),
    Case("expansion that asks for a value", 'FROM busybox\nENV A="${NO:?need it}"\n'),
    Case("expansion that has its value", 'FROM busybox\nENV V=1\nENV A="${V:?need it}" B=${V?x}\n'),
    Case("expansion that is not closed", "FROM busybox\nENV A=${B\nENV C=1\n"),
    Case("expansion of an unknown modifier", "FROM busybox\nENV A=${B:!x}\n"),
    Case(
        "arg scopes",
        """
ARG G=global
ARG V=1
ARG T=$V-x
FROM busybox AS one
ARG G
ARG T
ARG L=local
RUN echo "$G $T $L $V" > /1
FROM one AS two
RUN echo "$G $L" > /2
ARG G=again
RUN echo "$G" > /3
FROM busybox
COPY --from=two /1 /2 /3 /x/
ARG L
RUN echo "[$G][$L]" > /4
""",
    ),
    Case(
        "arg of the command line",
        "ARG V=1\nFROM busybox\nARG V\nARG W=w\nARG X\nARG Y=$W\nENV E=$V$W$X$Y\nRUN echo $V $W $X $Y > /1\n",
        options=("--build-arg", "V=2", "--build-arg", "W=a b", "--build-arg", "X=x", "--build-arg", "UNUSED=1"),
    ),
    Case(
        "arg and env of one name",
        """
FROM busybox
ARG A=arg
ENV A=env
RUN echo $A > /1
ENV B=env
ARG B=arg
RUN echo $B > /2
ENV C=$A-$B
ARG A=later
RUN echo $A > /3
""",
        options=("--build-arg", "A=cli"),
    ),
    Case("arg several", 'FROM busybox\nARG A=1 B="x y" C\nRUN echo "$A $B [$C]" > /1\n'),
    Case("arg from another of its line", "FROM busybox\nARG A=1 B=$A-2\nENV C=$B\n"),
    Case(
        "arg before its definition",
        "FROM busybox\nRUN echo [$A] > /1\nARG A=1\nRUN echo [$A] > /2\nARG A=2\nRUN echo [$A] > /3\n",
    ),
    Case("arg without a name", "FROM busybox\nARG =1\n"),
    Case(
        "arg in FROM",
        """
ARG NAME=busy
ARG STAGE=base
FROM ${NAME}box AS base
RUN echo 1 > /1
FROM ${STAGE} AS last
RUN echo 2 > /2
""",
    ),
    Case("arg in FROM that is empty", "ARG NAME\nFROM $NAME\n"),
    Case("arg of a stage in FROM", "FROM busybox AS one\nARG S=one\nFROM $S\n"),
    Case(
        "predefined args",
        """
FROM busybox
ARG TARGETPLATFORM
ARG TARGETARCH
ARG TARGETOS
ARG TARGETVARIANT
ARG BUILDPLATFORM
RUN echo $TARGETPLATFORM $TARGETARCH $TARGETOS $TARGETVARIANT $BUILDPLATFORM > /1
ENV T=$TARGETARCH
""",
    ),
    Case("predefined arg of the stage", "FROM busybox\nARG TARGETSTAGE\nRUN echo [$TARGETSTAGE] > /1\n"),
    Case(
        "proxy args",
        "FROM busybox\nRUN echo $HTTP_PROXY $http_proxy $no_proxy > /1\nRUN env | grep -ci proxy > /2\n",
        options=("--build-arg", "HTTP_PROXY=http://proxy.invalid", "--build-arg", "no_proxy=x"),
    ),
    Case(
        "label forms",
        """
FROM busybox
ENV X=x
LABEL a=1 "b c"="d e" f='$X' g=$X
LABEL multi="line one \\
line two" a=2
LABEL old style
LABEL com.example.empty="" "q"="say \\"hi\\""
""",
        options=("--label", "cli=1", "--label", "a=3"),
    ),
    Case(
        "workdir",
        """
FROM busybox
WORKDIR /a
WORKDIR b/c
RUN pwd > /1
ENV D=/e
WORKDIR $D/$NO/f
RUN pwd > /2
WORKDIR ../g
WORKDIR /sl/ash/
WORKDIR /
WORKDIR rel
WORKDIR with space
""",
    ),
    Case(
        "workdir under USER",
        "FROM busybox\nUSER app\nWORKDIR /w/x\nUSER 12:34\nWORKDIR /y\nWORKDIR /etc\nWORKDIR /w/z\n",
    ),
    Case("workdir over a file", "FROM busybox\nWORKDIR /etc/passwd\n"),
    Case("workdir through a symlink", "FROM busybox\nRUN ln -s tmp /l\nWORKDIR /l/x\nRUN pwd > /1; touch here\n"),
    Case("workdir in scratch", "FROM scratch\nWORKDIR /a/b\nUSER 5\nWORKDIR /c\n"),
    Case("workdir nothing", "FROM busybox\nWORKDIR\n"),
)
