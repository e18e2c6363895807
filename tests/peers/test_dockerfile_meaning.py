"""Config and history of an image against those that docker's own BuildKit makes of the same file.

Commands of `RUN` are not what is compared, so ours are only lowered and
docker's are cheap.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from buildkit_py.frontend.buildfile.lower import lower
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from tests.frontend.fakes import SeenInputs
from tests.peers.daemon import Docker

pytestmark = [
    pytest.mark.peers,
    pytest.mark.privileged,
    pytest.mark.xdist_group("docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a docker daemon needs root"),
]

CASES = {
    "everything": """
ARG G=g
FROM base:1
ARG G
ARG A=1 B
ARG B=$A-2
ENV X=1 Y="two words" Z=$X
ENV old style value
LABEL a=b "c d"="e f" base=2
EXPOSE 443 80/udp 8000-8002
VOLUME /v1 /v2
VOLUME ["/v 3"]
WORKDIR /w/
WORKDIR sub
COPY a b ./
COPY --chown=app:app --chmod=600 a /d/
ADD a .
COPY <<one <<two /h/
1 $X
one
2
two
RUN echo $A
RUN ["echo", "x y"]
RUN <<E
echo 1
E
RUN <<E
#!/bin/sh
echo 2
E
RUN cat <<P && cat <<Q
p
P
q
Q
SHELL ["/bin/sh", "-ec"]
RUN true
HEALTHCHECK --interval=1m30s --timeout=3s --retries=3 CMD curl "x"
STOPSIGNAL SIGINT
USER app
ENTRYPOINT ["x", "y\\"z"]
CMD a b
MAINTAINER me
ONBUILD RUN foo
WORKDIR /
""",
    "a derived stage": """
FROM base:1 AS one
ENV F=env
ARG F=arg Q=q
CMD ["inherit"]
RUN true
FROM one
RUN echo $F
ENTRYPOINT []
HEALTHCHECK NONE
""",
    "triggers of an image": "FROM withtrigger:1\nRUN true\n",
    "triggers of a stage": """
FROM base:1 AS p
ENV A=1
CMD ["c"]
ONBUILD RUN echo trigger $A
WORKDIR /pw
FROM p
RUN echo own
ENTRYPOINT ["e"]
""",
    "scratch": "FROM scratch\nCOPY --from=base:1 / /\nRUN true\nCMD\n",
    "predefined args": """
FROM base:1
ARG HTTP_PROXY
ARG TARGETARCH
RUN true
CMD echo "a\tb" é
""",
    "words": """
FROM base:1
ENV A="x y" B='$Z' C=a\\ b D=${NO:-default} E=${LANG:+set} PATH=/p:$PATH
LABEL multi="line \\
 cont" q="a\\"b"
ARG K="v w"
USER $A
WORKDIR $NOPE/x/$LANG
STOPSIGNAL 9
EXPOSE 53/UDP $NOPE 8080:80
CMD []
""",
    "copies": """
FROM base:1 AS s
RUN mkdir /o && echo 1 > /o/f
FROM base:1
COPY --from=s --chown=1000 /o /p/
COPY --link a /q/
COPY --chmod=0755 a* b /r/
COPY ["a", "/sp ace/"]
ADD --chown=app a b /z/
WORKDIR /deep/er
COPY . .
COPY a ../x
RUN --mount=type=bind,target=/m --mount=type=cache,target=/c --mount=type=tmpfs,target=/t ls /m
ENTRYPOINT exec x
""",
}
BUILD_ARGS = (("HTTP_PROXY", "http://127.0.0.1:9"),)


class Peer:
    """The daemon, with a context and with base images that have a config."""

    def __init__(self, docker: Docker, directory: Path) -> None:
        self.docker = docker
        self.context = directory / "context"
        (self.context / "b").mkdir(parents=True)
        (self.context / "a").write_text("a\n")
        (self.context / "b" / "c").write_text("c\n")
        _import_bases(docker, directory / "root")

    def inspect(self, name: str) -> dict:
        return json.loads(self.docker("image", "inspect", name))[0]

    def build(self, text: str) -> dict:
        (self.context / "Dockerfile").write_text(text)
        failure = self.docker.build("out", self.context, [f"--build-arg={name}={value}" for name, value in BUILD_ARGS])
        assert not failure
        return self.inspect("out")

    def history(self, name: str) -> list[str]:
        lines = self.docker("history", "--no-trunc", "--format", "{{json .CreatedBy}}", name).splitlines()
        return [json.loads(line) for line in reversed(lines)]


@pytest.fixture(scope="module")
def peer(docker, tmp_path_factory):
    return Peer(docker, tmp_path_factory.mktemp("peer"))


def _import_bases(docker: Docker, root: Path) -> None:
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
    for name in ("sh", "echo", "cat", "true", "ls", "mkdir"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\napp:x:1000:\n")
    archive = subprocess.run(["tar", "-C", str(root), "-c", "."], capture_output=True, check=True).stdout
    changes = ["--change=ENV LANG=C", '--change=CMD ["bash"]', "--change=LABEL base=1"]
    docker("import", *changes, "-", "base:1", stdin=archive)
    docker("import", *changes, "--change=ONBUILD ENV T=1", "-", "withtrigger:1", stdin=archive)


class DockersImages:
    """Resolves names to what the daemon has."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def resolve(self, reference, platform, position):
        found = self.peer.inspect(reference)
        config = found["Config"]
        own = ImageConfig(
            env=tuple(tuple(pair.split("=", 1)) for pair in config["Env"]),
            cmd=tuple(config["Cmd"]),
            labels=tuple(config["Labels"].items()),
            on_build=tuple(config["OnBuild"] or ()),
        )
        layers = tuple(found["RootFS"]["Layers"])
        system, _, arch = platform.partition("/")
        document = ImageDocument(arch, system, own, layers, (History("import"),))
        return Resolved(reference, found["Id"], platform, layers, document)


@pytest.mark.parametrize("name", CASES)
def test_config_and_history_are_dockers(peer, name):
    text = CASES[name].lstrip("\n")
    theirs = peer.build(text)
    (ours,) = lower(
        parse_text(text, "Dockerfile"),
        Options(str(peer.context), build_args=BUILD_ARGS),
        DockersImages(peer),
        SeenInputs(),
    )
    base = 0 if text.startswith("FROM scratch") else 1  # `docker import` writes a line of its own
    assert [entry.created_by for entry in ours.history][base:] == peer.history("out")[base:]
    assert ours.author == theirs["Author"]
    layers = sum(not entry.empty_layer for entry in ours.history)
    assert layers == len(theirs["RootFS"]["Layers"])
    assert _config(ours.config) == {key: theirs["Config"].get(key) or None for key in _config(ours.config)}


def _config(config: ImageConfig) -> dict:
    check = config.healthcheck
    fields = {
        "Env": [f"{name}={value}" for name, value in config.env],
        "Cmd": list(config.cmd or ()),
        "Entrypoint": list(config.entrypoint or ()),
        "WorkingDir": config.working_dir,
        "User": config.user,
        "Labels": dict(config.labels),
        "ExposedPorts": {port: {} for port in config.ports},
        "Volumes": {path: {} for path in config.volumes},
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell or ()),
        "OnBuild": list(config.on_build),
        "ArgsEscaped": config.args_escaped,
        "Healthcheck": check
        and {
            key: value
            for key, value in (
                ("Test", list(check.test)),
                ("Interval", check.interval),
                ("Timeout", check.timeout),
                ("StartPeriod", check.start_period),
                ("Retries", check.retries),
            )
            if value
        },
    }
    return {key: value or None for key, value in fields.items()}
