"""Cases of RUN: forms, environment, user and directory of a step, mounts, and what of it stays in the layer."""

from __future__ import annotations

from tests.peers.case import Case, File

CASES = (
    Case(
        "run shell and exec",
        """
FROM busybox
RUN echo "a  b" > /1
RUN ["sh", "-c", "echo \\"c $HOME\\" > /2"]
RUN  echo   spaced   >   /3
""",
    ),
    Case("run exec form takes no variables", 'FROM busybox\nENV X=1\nRUN ["touch", "/$X"]\n'),
    Case("run what is no JSON", "FROM busybox\nRUN [ -d /etc ] && echo yes > /1\nRUN ['a']; echo no > /2\n"),
    Case("run JSON that is not of strings", "FROM busybox\nRUN [1]\n"),
    Case("run that fails", "FROM busybox\nRUN exit 3\n"),
    Case("run exec of no program", 'FROM busybox\nRUN ["/no/such"]\n'),
    Case("run without a shell", "FROM scratch\nRUN true\n"),
    Case("run nothing", "FROM busybox\nRUN\n"),
    Case("run empty JSON", "FROM busybox\nRUN []\n"),
    Case(
        "run with continuations",
        """
FROM busybox
RUN echo one \\
  # a comment
  two \\

   three > /1 && \\
    echo "in \\
quotes" > /2
""",
    ),
    Case(
        "run environment",
        """
FROM busybox
ARG A=arg
ARG NODEF
ENV E=env A2=$A
RUN env | grep -v -e ^HOSTNAME -e ^SHLVL -e ^OLDPWD | sort > /env
WORKDIR /w
USER app
RUN env | grep -v -e ^HOSTNAME -e ^SHLVL -e ^OLDPWD | sort > /tmp/env
""",
    ),
    Case(
        "run user and groups",
        """
FROM busybox
RUN id > /tmp/0
USER app
RUN id > /tmp/1; umask > /tmp/2; pwd > /tmp/3
USER app:staff
RUN id > /tmp/4
USER 1234
RUN id > /tmp/5; echo $HOME > /tmp/5h
USER 1234:77
RUN id > /tmp/6
USER 77
RUN id > /tmp/7; echo $HOME > /tmp/7h
USER root
RUN id > /tmp/8
USER 0:50
RUN id > /tmp/9
""",
    ),
    Case("run as an unknown user", "FROM busybox\nUSER nosuch\nRUN true\n"),
    Case("run as an unknown group", "FROM busybox\nUSER app:nosuch\nRUN true\n"),
    Case("run cannot write", "FROM busybox\nUSER app\nRUN echo > /x\n"),
    Case("run in a directory that is not there", "FROM busybox\nWORKDIR /w\nRUN rmdir /w\nRUN pwd > /x\n"),
    Case(
        "run heredoc",
        """
FROM busybox
ENV X=outer
RUN <<EOF
echo "1 $X" > /1
X=inner
echo "2 $X" > /2
EOF
RUN <<'EOF'
echo "3 $X" > /3
EOF
RUN <<-EOF
	echo "4" > /4
EOF
RUN <<EOF
#!/bin/sh -e
echo "$0" > /5
echo "$X" >> /5
EOF
RUN cat <<one > /6 && cat <<"two" > /7
6 $X
one
7 $X
two
RUN cat > /8 <<EOF && echo end >> /8
  8 $X \\$X
EOF
RUN sh <<EOF
echo 9 > /9
EOF
""",
    ),
    Case(
        "run heredoc that fails in its middle",
        "FROM busybox\nRUN <<EOF\nfalse\necho on > /1\nEOF\nRUN <<EOF\n#!/bin/sh -e\nfalse\necho on > /2\nEOF\n",
    ),
    Case("run heredoc without an end", "FROM busybox\nRUN <<EOF\necho 1\n"),
    Case(
        "run heredoc under another shell",
        'FROM busybox\nSHELL ["/bin/sh", "-ec"]\nRUN <<EOF\nset -o | grep errexit > /1\nEOF\n',
    ),
    Case(
        "run shell",
        'FROM busybox\nSHELL ["/bin/sh", "-xc"]\nRUN echo $- > /1\nSHELL ["/bin/echo"]\nRUN not run\nCMD what\n',
    ),
    Case("run shell in no JSON", "FROM busybox\nSHELL /bin/sh -c\n"),
    Case(
        "run files",
        """
FROM busybox
RUN mkdir -m 1777 /s && mkdir /e && touch /e/f && chmod 4711 /e/f && ln /e/f /e/g && ln -s f /e/l && mkfifo /e/p
RUN chown 5:6 /e/p
RUN rm /e/g && mv /e/f /e/h && rmdir /s && mkdir /s && rm -r /home
RUN rm -rf /e && mkdir /e && echo new > /e/only
RUN chmod 700 /var && chown app /usr
RUN rm /bin/busybox && echo gone
""",
    ),
    Case(
        "run removes and makes anew",
        """
FROM busybox
RUN mkdir -p /d/e && echo 1 > /d/e/f && echo 1 > /k
RUN rm -r /d && echo file > /d && rm /k && mkdir /k && rm /etc/group && ln -s passwd /etc/group
""",
    ),
    Case("run touches nothing", "FROM busybox\nRUN true\nRUN cat /etc/passwd > /dev/null\n"),
    Case("run renames a directory of the base", "FROM busybox\nRUN mv /home /house && mv /usr/bin /usr/tools\n"),
    Case("run device nodes", "FROM busybox\nRUN mknod /null c 1 3\n"),
    Case(
        "run capabilities of a file",
        """
FROM busybox
RUN grep -e CapEff -e CapBnd -e CapPrm -e NoNewPrivs -e Seccomp: /proc/self/status > /1
USER app
RUN grep -e CapEff -e CapBnd -e CapPrm -e CapAmb /proc/self/status > /tmp/2
""",
    ),
    Case(
        "run sees a machine",
        """
FROM busybox
RUN hostname > /1; ls /dev | sort > /2; ls -d /proc/1 /sys/kernel > /3
RUN ls -ld /dev/shm /dev/pts /dev/mqueue | awk '{print $1, $3, $4, $NF}' > /5
RUN ulimit -c > /7; cat /proc/self/oom_score_adj > /8; ls -l /proc/self/fd | wc -l > /9
RUN echo 1 > /proc/sys/kernel/hostname; echo $? > /10; echo 1 > /sys/x; echo $? > /11
RUN ls /proc/acpi /sys/firmware | wc -l > /12
""",
    ),
    Case(
        "run sees devices",
        "FROM busybox\nRUN cd /dev; ls -l null tty ptmx fd core stdin | awk '{print $1, $3, $4}' > /1\n",
    ),
    Case(
        "run hosts",
        "FROM busybox\nRUN grep -c localhost /etc/hosts > /1; grep 10.9.8.7 /etc/hosts > /2\n",
        options=("--add-host", "there:10.9.8.7"),
    ),
    Case(
        "run mount bind",
        """
FROM busybox AS s
RUN mkdir /o && echo 1 > /o/f
FROM busybox
WORKDIR /w
RUN --mount=type=bind,target=/ctx ls -A /ctx > /1; cat /ctx/d/f > /2; touch /ctx/x; echo $? > /3
RUN --mount=type=bind,source=d,target=rel cat rel/f > /4; pwd > /5
RUN --mount=from=s,source=/o,target=/o cat /o/f > /6
RUN --mount=type=bind,from=s,source=/o/f,target=/single cat /single > /7
RUN --mount=type=bind,rw,target=/ctx echo new > /ctx/new && cat /ctx/new > /8
RUN --mount=type=bind,target=/deep/er/still ls /deep/er/still > /9
RUN --mount=type=bind,target=/etc ls /etc > /10
RUN ls / > /11; ls /w > /12
""",
        {"a": "a", "d/f": File("df\n", 0o640)},
    ),
    Case(
        "run mount bind of what is not there",
        "FROM busybox\nRUN --mount=type=bind,source=nope,target=/x true\n",
        {"a": "a"},
    ),
    Case("run mount at the root", "FROM busybox\nRUN --mount=type=bind,target=/ true\n", {"a": "a"}),
    Case("run mount without a target", "FROM busybox\nRUN --mount=type=bind true\n"),
    Case(
        "run mount without a target lies over the working directory",
        """\
FROM busybox AS s
RUN mkdir /o && echo o > /o/f
FROM busybox
WORKDIR /w
RUN --mount=type=bind ls -A > /1; pwd > /2
RUN --mount=from=s,source=o cat f > /3
RUN --mount=type=tmpfs ls -A > /4; grep -c ' /w tmpfs' /proc/mounts > /5
RUN --mount=type=cache,id=CACHEID5 echo 1 > f; ls -A > /6
RUN --mount=type=cache,id=CACHEID5,target=/c cat /c/f > /7
""",
        {"a": "a"},
    ),
    Case(
        "run mount cache without a target and an id",
        """\
FROM busybox
WORKDIR /w
RUN --mount=type=cache echo 1 > f
WORKDIR /v
RUN --mount=type=cache ls -A > /1
RUN --mount=type=cache,id=.,target=/c ls -A /c > /2
RUN --mount=type=cache,id=/w,target=/c ls -A /c > /3
RUN --mount=type=cache,target=/w ls -A /w > /4
RUN --mount=type=cache,target=. ls -A . > /5
""",
    ),
    Case(
        "run mount passes over keys of other types",
        """\
FROM busybox AS s
FROM busybox
RUN --mount=type=bind,target=/m,id=x ls -A /m > /1
RUN --mount=type=tmpfs,target=/t,from=s,id=y ls -A /t > /2
RUN --mount=type=secret,id=none,target=/s,ro true
RUN --mount=type=ssh,from=s true
""",
        {"a": "a"},
    ),
    Case("run mount tmpfs with sharing", "FROM busybox\nRUN --mount=type=tmpfs,target=/t,sharing=locked true\n"),
    Case("run mount bind that is required", "FROM busybox\nRUN --mount=type=bind,target=/t,required true\n"),
    Case("run mount cache of a size", "FROM busybox\nRUN --mount=type=cache,target=/t,size=1m true\n"),
    Case("run mount tmpfs with a mode", "FROM busybox\nRUN --mount=type=tmpfs,target=/t,mode=0700 true\n"),
    Case("run mount of an unknown type", "FROM busybox\nRUN --mount=type=nope,target=/x true\n"),
    Case("run mount with an unknown key", "FROM busybox\nRUN --mount=type=cache,target=/x,nope=1 true\n"),
    Case(
        "run mount cache",
        """
FROM busybox
RUN --mount=type=cache,target=/c,id=CACHEID echo 1 > /c/f; stat -c '%a %u %g' /c > /1
RUN --mount=type=cache,target=/c,id=CACHEID cat /c/f > /2; ls -d /c > /3
RUN --mount=type=cache,target=/o,id=CACHEID2,uid=77,gid=50,mode=0750 stat -c '%a %u %g' /o > /4
RUN --mount=type=cache,target=/r,id=CACHEID3,readonly touch /r/x; echo $? > /5
RUN ls / > /6
""",
    ),
    Case(
        "run mount cache from a stage",
        """
FROM busybox AS s
RUN mkdir /o && echo 1 > /o/f
FROM busybox
RUN --mount=type=cache,target=/c,from=s,source=/o,id=CACHEID4 cat /c/f > /1
""",
    ),
    Case(
        "run mount tmpfs",
        """
FROM busybox
RUN --mount=type=tmpfs,target=/t echo 1 > /t/f; stat -c %a /t > /1; grep -c ' /t tmpfs' /proc/mounts > /2
RUN --mount=type=tmpfs,target=/etc ls -A /etc > /3
RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | awk '{print $2}' > /4; ls / > /5
""",
    ),
    Case(
        "run mount secret",
        """
FROM busybox
RUN --mount=type=secret,id=s cat /run/secrets/s > /1; stat -c '%a %u %g' /run/secrets/s > /2
RUN --mount=type=secret,id=s,target=/key,mode=0444,uid=5,gid=6 stat -c '%a %u %g' /key > /3
RUN --mount=type=secret,id=missing ls /run > /4; echo $? > /5
WORKDIR /w
RUN --mount=type=secret,id=s,dst=rel/key cat rel/key > /6
RUN ls -d /run /key /w/* > /7; true
""",
        {"secret.txt": "hush\n", ".dockerignore": "secret.txt\n"},
        ("--secret", "id=s,src=secret.txt"),
    ),
    Case("run mount secret that is required", "FROM busybox\nRUN --mount=type=secret,id=nope,required true\n"),
    Case(
        "run mount of variables",
        "FROM busybox\nARG D=d\nENV T=/tt\nRUN --mount=type=bind,source=$D,target=${T} cat /tt/f > /1\n",
        {"d/f": "f"},
    ),
    Case(
        "run heredoc of tabs",
        "FROM busybox\nRUN <<-EOF\n\t\techo 1 > /1\n\tcat <<-E > /2\n\t\tin\n\tE\n\tEOF\n",
    ),
    Case("run heredoc with a script of another program", "FROM busybox\nRUN <<EOF\n#!/bin/cat -\nEOF\n"),
    Case(
        "run heredocs and a command between",
        "FROM busybox\nRUN cat <<A > /a && cat <<'B' > /b\n$HOME\nA\n$HOME\nB\nRUN cat /a /b > /c\n",
    ),
    Case(
        "run mount tmpfs of a size",
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2 > /1\n",
    ),
    Case("run mount tmpfs of no size", "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=big true\n"),
    Case(
        "run mount bind written to",
        "FROM busybox\nRUN --mount=target=/m,rw echo 2 > /m/a && cat /m/a > /1\n",
        {"a": "1\n"},
    ),
    Case("run mount bind read-only", "FROM busybox\nRUN --mount=target=/m echo 2 > /m/a\n", {"a": "1\n"}),
    Case(
        "run mount below WORKDIR",
        "FROM busybox\nWORKDIR /w\nRUN --mount=target=m,source=d ls m > /1\n"
        "RUN --mount=type=cache,target=c pwd > c/x\n",
        {"d/f": "f"},
    ),
    Case(
        "run mounts in quotes",
        "FROM busybox\nRUN --mount='type=bind,\"source=a b\",target=/m' cat /m > /2\n",
        {"a b": "x\n"},
    ),
    Case(
        "run mount cache of an owner",
        "FROM busybox\nUSER app\nRUN --mount=type=cache,target=/c,uid=77,gid=50,mode=0711 "
        "stat -c '%a %u %g' /c > /tmp/1 && touch /c/x\n",
    ),
    Case(
        "run mount cache by an id",
        "FROM busybox\nRUN --mount=type=cache,id=i,target=/c echo 1 > /c/x\n"
        "RUN --mount=type=cache,id=i,target=/d,sharing=locked cat /d/x > /1\n"
        "RUN --mount=type=cache,target=/c ls /c > /2\n",
    ),
    Case("run mount cache of an unknown sharing", "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=some true\n"),
    Case(
        "run mount secret by its target",
        "FROM busybox\nRUN --mount=type=secret,target=/s/key test ! -e /s/key && ls / > /1\n",
    ),
    Case("run mount secret without a name", "FROM busybox\nRUN --mount=type=secret true\n"),
    Case(
        "run mount ssh that was not given",
        'FROM busybox\nRUN --mount=type=ssh echo "$SSH_AUTH_SOCK" > /1; ls / > /2\n',
    ),
    Case("run mount ssh that is required", "FROM busybox\nRUN --mount=type=ssh,required true\n"),
    Case("run mount ssh of a source", "FROM busybox\nRUN --mount=type=ssh,source=a true\n"),
    Case(
        "run mount from a later stage", "FROM busybox\nRUN --mount=from=later,target=/m true\nFROM busybox AS later\n"
    ),
    Case("run mount from a variable", "FROM busybox AS s\nFROM busybox\nARG S=s\nRUN --mount=from=$S,target=/m true\n"),
    Case(
        "run mount over a file",
        "FROM busybox\nRUN --mount=source=a,target=/etc/passwd cat /etc/passwd > /1\n",
        {"a": "a\n"},
    ),
    Case("run security sandbox", "FROM busybox\nRUN --security=sandbox echo 1 > /1\n"),
    Case("run network none", "FROM busybox\nRUN --network=none ls /sys/class/net > /1\n"),
    Case("run unknown flag", "FROM busybox\nRUN --nope true\n"),
)
