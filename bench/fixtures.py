"""What is built: source trees, Dockerfiles and ninja files of given sizes, the same ones each time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PER_DIRECTORY = 100


def tree(directory: str, files: int, size: int) -> list[str]:
    """Fill a directory with files, a hundred a directory; their paths relative to it.

    A half of each file is text, the other half random, and no two are alike.
    """
    paths = []
    for number in range(files):
        group = f"d{number // _PER_DIRECTORY:05d}"
        if number % _PER_DIRECTORY == 0:
            os.makedirs(f"{directory}/{group}")
        path = f"{group}/f{number:06d}.txt"
        with open(f"{directory}/{path}", "wb") as file:
            file.write(content(number, size))
        paths.append(path)
    return paths


def content(number: int, size: int) -> bytes:
    """The bytes of one file."""
    noise = hashlib.shake_128(b"%d" % number).digest(size // 2)
    return noise + (b"file %d: some text of a source file\n" % number * (size // 30 + 1))[: size - len(noise)]


def write(path: str, text: str) -> None:
    """Write a text file, its directory with it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(text)


def twenty(base: str) -> str:
    """A Dockerfile of 20 instructions as projects have them; the context is copied at the eleventh."""
    return f"""\
FROM {base}
ARG VERSION=1
ENV LANG=C.UTF-8
ENV APP_HOME=/app PORT=8080
LABEL org.opencontainers.image.title="bench"
RUN mkdir -p /app /data
WORKDIR /app
RUN echo dependencies > /data/dependencies
RUN echo more > /data/more
RUN echo "version $VERSION" > /data/version
COPY . /app/src
RUN echo compiled > /app/program
RUN echo tested > /data/tested
RUN rm /data/more
ENV MODE=production
EXPOSE 8080
VOLUME /data
USER 1000:1000
ENTRYPOINT ["cat"]
CMD ["/app/program"]
"""


def trivial_runs(base: str, number: int, runs: int = 20) -> str:
    """That many RUN steps which write a file each; `number` makes sure that none was run before."""
    return f"FROM {base}\nENV ROUND={number}\n" + "".join(f"RUN echo {n} > /f{n}\n" for n in range(runs))


def late_edit(base: str) -> str:
    """20 instructions: a file is copied at the seventeenth, three RUN steps follow."""
    before = "".join(f"RUN echo {n} > /f{n}\n" for n in range(11))
    return (
        f"FROM {base}\nENV A=1\nENV B=2\nWORKDIR /app\nLABEL c=3\n{before}COPY edited.txt /app/\n"
        "RUN cat edited.txt > one\nRUN cat one > two\nRUN cat two > three\n"
    )


def ladder(base: str, steps: int, height: int = 50) -> str:
    """That many RUN steps, in stages of `height` whose results the last stage gathers.

    Not in one stage, for docker mounts no more than 128 layers. No two steps are alike: equal ones would be run once.
    """
    text, stages = "", -(-steps // height)
    for stage in range(stages):
        text += f"FROM {base} AS s{stage}\n"
        runs = min(height, steps - stage * height)
        text += "".join(f"RUN : {stage} {n}\n" for n in range(runs - 1)) + f"RUN echo {stage} > /r{stage}\n"
    text += f"FROM {base}\n"
    return text + "".join(f"COPY --from=s{stage} /r{stage} /\n" for stage in range(stages))


def diamond(base: str, number: int) -> str:
    """Six stages that sleep a second each: one, then four beside each other, then one that takes from all of them."""
    text = f"FROM {base} AS top\nENV ROUND={number}\nRUN sleep 1 && echo top > /top\n"
    for side in "abcd":
        text += f"FROM top AS {side}\nRUN sleep 1 && echo {side} > /{side}\n"
    text += "FROM top AS bottom\n" + "".join(f"COPY --from={side} /{side} /\n" for side in "abcd")
    return text + "RUN sleep 1 && cat /a /b /c /d > /all\n"


def lines(count: int, number: int = 0) -> str:
    """A Buildfile of that many lines, of every kind that files have; `number` is in one of them."""
    block = """\
# {name} one of many stages
FROM base:1 AS {name}
ARG VERSION=1.{n}
ENV PATH=/opt/{name}/bin:$PATH \\
    LANG="C.UTF-8" GREETING='hello, world'
# what it needs
RUN --mount=type=cache,target=/var/cache/apt --network=none \\
    apt-get update && \\
    # the tools
    apt-get install -y --no-install-recommends \\
        curl git make && \\
    rm -rf /var/lib/apt/lists/*
WORKDIR /src/{name}
COPY --from=base --chown=1000:1000 a b "c d" ./
RUN <<EOF
set -e
./configure --prefix=/opt/{name}
make install
EOF
EXPOSE 8080/tcp
LABEL org.opencontainers.image.version="$VERSION"
CMD ["/opt/{name}/bin/run", "--port", "8080"]

"""
    size = block.count("\n")
    text = "".join(block.format(name=f"stage{n}", n=n) for n in range(count // size))
    return text + f"RUN echo {number}\n" * (count - text.count("\n"))


def ninja(edges: int, inputs: list[str]) -> str:
    """A ninja file of that many edges in a chain, the first of which depends on all inputs."""
    text = f"rule step\n  command = touch $out\n\nbuild out0: step {' '.join(inputs)}\n"
    return text + "".join(f"build out{n}: step out{n - 1}\n" for n in range(1, edges))
