"""Cases of what an image says of itself: CMD, ENTRYPOINT, EXPOSE and their like, and ONBUILD."""

from __future__ import annotations

from tests.peers.case import Case

CASES = (
    Case(
        "cmd and entrypoint", 'FROM busybox AS base\nENTRYPOINT ["/e"]\nCMD ["c", "d"]\nFROM base\nCMD shell form $X\n'
    ),
    Case("entrypoint drops an inherited cmd", 'FROM busybox AS base\nCMD ["c"]\nFROM base\nENTRYPOINT ["/e"]\n'),
    Case("entrypoint keeps its stage's cmd", 'FROM busybox\nCMD ["c"]\nENTRYPOINT run it\n'),
    Case("entrypoint reset", 'FROM busybox AS base\nENTRYPOINT ["/e"]\nFROM base\nENTRYPOINT []\nCMD ["x"]\n'),
    Case("cmd reset", "FROM busybox\nCMD []\n"),
    Case("cmd empty", "FROM busybox\nCMD\n"),
    Case("cmd under another shell", 'FROM busybox\nSHELL ["/bin/ash", "-c"]\nCMD a\nENTRYPOINT b\n'),
    Case("cmd json with odd spaces", 'FROM busybox\nCMD  [ "a" , "b\\u0041\\n" ]\nENTRYPOINT [ ]\n'),
    Case("cmd with a flag", "FROM busybox\nCMD --x y\n"),
    Case("expose", "FROM busybox\nENV P=9000\nEXPOSE 443 80/tcp 53/udp $P 8000-8002 7000-7001/UDP\nEXPOSE 80\n"),
    Case("expose host port", "FROM busybox\nEXPOSE 8080:80\n"),
    Case("expose out of range", "FROM busybox\nEXPOSE 70000\n"),
    Case("expose words", "FROM busybox\nEXPOSE http\n"),
    Case("expose of an unknown protocol", "FROM busybox\nEXPOSE 80/icmp\n"),
    Case(
        "volume",
        'FROM busybox\nENV V=/v\nVOLUME /a $V\nVOLUME ["/b", "/c d"]\nRUN mkdir -p /a && echo kept > /a/f\nVOLUME /a\n',
    ),
    Case("volume nothing", "FROM busybox\nVOLUME\n"),
    Case("user", "FROM busybox\nARG U=app\nUSER $U:${G:-50}\n"),
    Case("user with spaces", "FROM busybox\nUSER a b\n"),
    Case("stopsignal", "FROM busybox\nARG S=INT\nSTOPSIGNAL SIG$S\n"),
    Case("stopsignal number", "FROM busybox\nSTOPSIGNAL 9\n"),
    Case("stopsignal unknown", "FROM busybox\nSTOPSIGNAL SIGNOPE\n"),
    Case(
        "healthcheck shell",
        """
FROM busybox
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=2s --retries=3 CMD wget -q localhost || exit 1
""",
    ),
    Case("healthcheck exec", 'FROM busybox\nHEALTHCHECK CMD ["check", "it"]\n'),
    Case("healthcheck none", "FROM busybox AS b\nHEALTHCHECK CMD x\nFROM b\nHEALTHCHECK NONE\n"),
    Case("healthcheck start interval", "FROM busybox\nHEALTHCHECK --start-interval=3s CMD x\n"),
    Case("healthcheck of an unknown type", "FROM busybox\nHEALTHCHECK MAYBE x\n"),
    Case("healthcheck too short", "FROM busybox\nHEALTHCHECK --interval=1us CMD x\n"),
    Case("maintainer", "FROM busybox\nMAINTAINER Some One <one@example.com>\n"),
    Case(
        "onbuild",
        'FROM busybox\nONBUILD RUN echo 1 > /1\nONBUILD COPY a /a\nONBUILD ENV X=$Y Z="q r"\nONBUILD  CMD ["x"]\n',
        {"a": "a"},
    ),
    Case(
        "onbuild of a stage",
        """
FROM busybox AS base
ARG A=of-base
ONBUILD RUN echo "$A $B" > /1
ONBUILD COPY a /a
ONBUILD ENV T=1
FROM base AS child
ARG B=b
RUN echo $T > /2
FROM child
RUN echo 3 > /3
""",
        {"a": "a"},
    ),
    Case(
        "onbuild of several stages",
        """
FROM busybox AS a
ONBUILD ARG V=of-a
ONBUILD RUN echo "$V" > /a
FROM a AS b
ONBUILD WORKDIR /b
ONBUILD COPY --chown=5:6 <<EOF f
$HOME $V
EOF
FROM b AS c
RUN pwd > /c
FROM c
RUN ls / > /d
""",
    ),
    Case(
        "onbuild that copies from a stage of its user",
        "FROM busybox AS base\nONBUILD COPY --from=made /m /m\nFROM busybox AS made\nRUN echo m > /m\nFROM base\n",
    ),
    Case(
        "onbuild with heredocs",
        "FROM busybox AS a\nONBUILD RUN <<EOF\necho 1 > /1\nEOF\n"
        "ONBUILD COPY <<one <<two /h/\n1\none\n2\ntwo\nFROM a\nCMD x\n",
    ),
    Case(
        "onbuild with mounts", "FROM busybox AS a\nONBUILD RUN --mount=target=/m cat /m/f > /1\nFROM a\n", {"f": "f\n"}
    ),
    Case(
        "onbuild of a target",
        "FROM busybox AS a\nONBUILD RUN echo 1 > /1\nFROM a AS b\nFROM a AS c\n",
        options=("--target", "b"),
    ),
    Case("onbuild that fails", "FROM busybox AS a\nONBUILD COPY missing /x\nFROM a\n"),
    Case("onbuild onbuild", "FROM busybox\nONBUILD ONBUILD RUN true\n"),
    Case("onbuild from", "FROM busybox\nONBUILD FROM busybox\n"),
    Case("onbuild of an unknown instruction", "FROM busybox\nONBUILD NOPE x\n"),
    Case(
        "everything inherited",
        """
FROM busybox AS b
ENV A=1
USER app
WORKDIR /w
LABEL l=1
EXPOSE 1
VOLUME /v
STOPSIGNAL SIGHUP
HEALTHCHECK CMD x
SHELL ["/bin/ash", "-c"]
CMD y
ENTRYPOINT ["z"]
FROM b
LABEL m=2
EXPOSE 2
VOLUME /u
""",
    ),
    Case("nothing but FROM", "FROM busybox\n"),
    Case(
        "workdir with dots",
        """
FROM busybox
WORKDIR /w/../../v
RUN pwd > /1
WORKDIR /a/./b//c/
RUN pwd > /2
WORKDIR ../d/./../e
RUN pwd > /3
WORKDIR /home/new/..
RUN pwd > /4
""",
    ),
)
