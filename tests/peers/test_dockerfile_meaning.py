"""Config and history of an image against those that docker's own BuildKit makes of the same file.

Commands of `RUN` are not what is compared, so ours are only lowered and
docker's are cheap. The daemon is our own, in a directory of its own, without
networks, and is ended with the test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from buildkit_py.frontend.buildfile.lower import lower
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from tests.frontend.fakes import SeenInputs
from tests.needs import need

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


class Docker:
    """A daemon of our own, as a client sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {
            **os.environ,
            "DOCKER_HOST": f"unix://{directory}/docker.sock",
            "DOCKER_CONFIG": str(directory / "config"),
            "DOCKER_BUILDKIT": "1",
        }
        (directory / "context" / "b").mkdir(parents=True)
        (directory / "context" / "a").write_text("a\n")
        (directory / "context" / "b" / "c").write_text("c\n")

    def __call__(self, *command: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(["docker", *command], env=self.env, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def inspect(self, name: str) -> dict:
        return json.loads(self("image", "inspect", name))[0]

    def build(self, text: str) -> dict:
        (self.directory / "context" / "Dockerfile").write_text(text)
        args = [f"--build-arg={name}={value}" for name, value in BUILD_ARGS]
        self("build", "-q", "-t", "out", "--network=host", *args, str(self.directory / "context"))
        return self.inspect("out")

    def history(self, name: str) -> list[str]:
        lines = self("history", "--no-trunc", "--format", "{{json .CreatedBy}}", name).splitlines()
        return [json.loads(line) for line in reversed(lines)]


@pytest.fixture(scope="module")
def docker():
    need("dockerd", "docker", "busybox")
    directory = Path(tempfile.mkdtemp(prefix="pybuild-docker-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    client = Docker(directory)
    command = ["dockerd", "--data-root", f"{directory}/data", "--exec-root", f"{directory}/run"]
    command += ["--pidfile", f"{directory}/pid", "-H", f"unix://{directory}/docker.sock"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        while subprocess.run(["docker", "version"], env=client.env, capture_output=True, check=False).returncode:
            assert daemon.poll() is None, (directory / "log").read_text()
            time.sleep(0.1)
        _import_bases(client)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        shutil.rmtree(directory)


def _import_bases(docker: Docker) -> None:
    root = docker.directory / "root"
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

    def __init__(self, docker: Docker) -> None:
        self.docker = docker

    def resolve(self, reference, platform, position):
        found = self.docker.inspect(reference)
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
def test_config_and_history_are_dockers(docker, name):
    text = CASES[name].lstrip("\n")
    theirs = docker.build(text)
    (ours,) = lower(
        parse_text(text, "Dockerfile"),
        Options(str(docker.directory / "context"), build_args=BUILD_ARGS),
        DockersImages(docker),
        SeenInputs(),
    )
    base = 0 if text.startswith("FROM scratch") else 1  # `docker import` writes a line of its own
    assert [entry.created_by for entry in ours.history][base:] == docker.history("out")[base:]
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
