"""Any bytes as a Buildfile: they become a graph or one of our errors, and nothing else ever happens.

    python -m tests.fuzz.buildfiles [SECONDS] [DIRECTORY]

`python -m tests.fuzz --minutes 10` draws its inputs from a seed, which needs nothing but Python. Here, with `atheris`
installed (`pip install atheris`), inputs are led by the code that they reach; without it they are drawn as there.
DIRECTORY keeps what was found, and what is in it is where the next run starts; an input that breaks
something is written there as `crash-…`, and `python -m tests.fuzz.buildfiles FILE` tries it alone.
`tests/fuzz/test_buildfiles.py` is the short form that runs with all tests.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from buildkit_py.errors import PybuildError
from buildkit_py.frontend.buildfile import grammar
from buildkit_py.frontend.buildfile.canonical.file import canonical
from buildkit_py.frontend.buildfile.checks.mend import applicable, apply
from buildkit_py.frontend.buildfile.checks.registry import RULES
from buildkit_py.frontend.buildfile.checks.run import run
from buildkit_py.frontend.buildfile.checks.settings import of_file
from buildkit_py.frontend.buildfile.checks.subject import Subject
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import lower, survey
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options
from buildkit_py.image.config import ImageConfig
from tests.frontend.buildfile.meaning import meaning
from tests.frontend.buildfile.test_errors import BROKEN
from tests.frontend.fakes import FakeResolver, SeenInputs
from tests.peers.cases import CASES

PIECES = (
    *("FROM base", "FROM base AS x", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "CMD ", "ENTRYPOINT "),
    *("SHELL ", "EXPOSE ", "VOLUME ", "WORKDIR ", "USER ", "STOPSIGNAL ", "HEALTHCHECK ", "ONBUILD ", "MAINTAINER "),
    *("# escape=`\n", "# check=skip=all\n", "# syntax=x\n", "#", "\n", "\r\n", "\\\n", "`\n", " ", "\t", "\v", "\f"),
    *('["a", "b"]', "[", "]", "{", "}", '"', "'", "\\", "`", "$", "${", "}", "${a:-${b:-c}}", "${a//b/c}", "${a#*}"),
    *("<<EOF\n", "EOF\n", "<<-E\n", "\tE\n", "<<'E'\n", "--from=x ", "--mount=type=", "--chown=", "--network=", "--"),
    *("bind,source=a,target=/b", "cache,target=/c", "secret,id=x", "tmpfs,target=/t,size=1g", "=", ":", "/", ".."),
    *("a", "80/tcp", "1h30m", "scratch", "host://", "\0", "\x1b", "\ufeff", "\u2028", "\x85", "é", "\udcff", "𝕏"),
)
OWN_WORDS = (
    "FUNCTION f\nARG V=1\nRUN make $V\nEND\nFROM base\nDO f\nDO f --V=2\n",
    'ARG A=x\nFROM base\nIF ($A == "x" and not defined B) or $A in "a b"\nRUN x\nELIF $A matches "a*"\nRUN y\n'
    "ELSE\n# c\nRUN z\nEND\n",
    "FOR v IN 1 2 \\\n # c\n  3\nFROM base AS s$v\nRUN x $v\nEND\nFROM base\nCOPY --from=s1 / /\n",
    "FROM base\nOUTPUT /app dist/\nTAG a:1 b:2\nTEST --name=unit --network=none make test\nLET v = $(git describe)\n",
    "INCLUDE ./lib --as lib\nFROM base\nDO lib.setup\n",
)
_BASE = ImageConfig(env=(("PATH", "/bin"),), working_dir="/")


class AnyImage(FakeResolver):
    """Has every image."""

    def resolve(self, reference, platform, position):
        self.configs.setdefault(reference.replace("-", "_").partition(":")[0], _BASE)
        return super().resolve(reference, platform, position)


@contextmanager
def lark_once() -> Iterator[None]:
    """Let Lark load a grammar once: it does so for each text with an error, slowly and with the same result."""
    before = grammar.parser
    grammar.parser = functools.cache(before)
    try:
        yield
    finally:
        grammar.parser = before


def attempt(data: bytes, context: str) -> str:
    """Parse and lower a text; "" or what was said against it. Raises what no Buildfile may raise."""
    try:
        tree = parse_text(data, "Buildfile")
        rows = data.count(b"\n") + 1
        for node in tree.instructions:
            assert 1 <= node.position.line <= node.line_end <= rows, node
        lower(tree, Options(context, platform="linux/amd64"), AnyImage(), SeenInputs())
    except PybuildError as problem:
        said = problem.message
        assert said
        assert "\n" not in said.replace("\\n", "") or b"\n" in data
        return said
    return ""


def hold_form(data: bytes) -> bool:
    """Whether a text has a canonical form, after all that must be true of it."""
    try:
        made = canonical(data, "Buildfile")
    except PybuildError:
        return False
    assert canonical(made, "Buildfile") == made
    assert meaning(made) == meaning(data)
    return True


def hold_checks(data: bytes, context: str) -> int:
    """How many findings all rules have in a text. Mending what can be mended leaves what the text means."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        tree = parse_text(data, "Buildfile")
    except PybuildError:
        return 0
    facts, whole = Facts(), True
    try:
        survey(tree, Options(context, platform="linux/amd64"), AnyImage(), SeenInputs(), facts=facts)
    except PybuildError:
        whole = False
    found = applicable(text, run(Subject(tree, facts), RULES, of_file(tree, {}, own=True)))
    if whole:  # a file that is wrong is not mended
        mended = apply(text, found).encode("utf-8", "surrogateescape")
        assert mended == data or meaning(mended) == meaning(data)
    return len(found)


def seeds() -> list[bytes]:
    """Texts to start from: those of the corpus, and those that are wrong."""
    texts = [case.text.lstrip("\n") for case in CASES.values()] + [text for text, _ in BROKEN if len(text) < 5000]
    texts += OWN_WORDS
    return [text.encode("utf-8", "surrogateescape") for text in texts]


def mutated(chance: random.Random, known: list[bytes]) -> bytes:
    """A text made of a known one: pieces put in, taken out, doubled, swapped with those of another."""
    data = bytearray(chance.choice(known))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((0, 1, 1, 4, 20)))
        match chance.randint(0, 4):
            case 0:
                data[at:end] = chance.choice(PIECES).encode("utf-8", "surrogateescape")
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * chance.choice((1, 2, 50))
            case 3:
                other = chance.choice(known)
                start = chance.randint(0, len(other))
                data[at:end] = other[start : start + chance.choice((3, 20, 200))]
            case _:
                data[at:end] = bytes([chance.randint(0, 255)])
    return bytes(data)


def main(argv: list[str]) -> int:
    """Run for a time, or try files."""
    with lark_once(), tempfile.TemporaryDirectory() as context:
        files = [name for name in argv if os.path.isfile(name)]
        for name in files:
            with open(name, "rb") as file:
                print(name, attempt(file.read(), context) or "is fine", sep=": ")
        if files:
            return 0
        seconds = int(argv[0]) if argv else 600
        directory = argv[1] if len(argv) > 1 else tempfile.mkdtemp(prefix="fuzz-")
        os.makedirs(directory, exist_ok=True)
        for number, data in enumerate(seeds()):
            with open(f"{directory}/seed-{number:04}", "wb") as file:
                file.write(data)
        try:
            import atheris
        except ImportError:
            return _draw(seconds, directory, context)
        return _led(atheris, seconds, directory, context)


def _led(atheris, seconds: int, directory: str, context: str) -> int:
    with open(f"{directory}/.words", "w", encoding="ascii") as words:
        for piece in PIECES:
            escaped = "".join(f"\\x{byte:02x}" for byte in piece.encode("utf-8", "surrogateescape"))
            words.write(f'"{escaped}"\n')
    atheris.instrument_all()
    flags = [f"-max_total_time={seconds}", "-timeout=20", "-max_len=4000", f"-dict={directory}/.words"]
    atheris.Setup(["fuzz", *flags, f"-artifact_prefix={directory}/", directory], lambda data: attempt(data, context))
    atheris.Fuzz()
    return 0


def _draw(seconds: int, directory: str, context: str) -> int:
    chance, known = random.Random(), seeds()
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance, known)
        count += 1
        try:
            attempt(data, context)
        except Exception:
            with open(f"{directory}/crash-{count}", "wb") as file:
                file.write(data)
            print(f"broken by {directory}/crash-{count}", file=sys.stderr)
            raise
    print(f"{count} inputs, nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
