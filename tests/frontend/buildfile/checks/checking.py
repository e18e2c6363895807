"""A text checked by the rules, against images that are known and others that are not."""

from __future__ import annotations

import os

from buildkit_py.errors import PybuildError
from buildkit_py.frontend.buildfile.checks import registry, settings
from buildkit_py.frontend.buildfile.checks.mend import applicable, apply
from buildkit_py.frontend.buildfile.checks.rule import Finding
from buildkit_py.frontend.buildfile.checks.run import run
from buildkit_py.frontend.buildfile.checks.subject import Subject
from buildkit_py.frontend.buildfile.facts import Facts
from buildkit_py.frontend.buildfile.lower import survey
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.image.config import ImageConfig, ImageDocument
from tests.frontend.fakes import SeenInputs

# A context in which there is nothing to find.
HERE = os.path.dirname(__file__)

# Images that are known: the architectures that they exist for, and what they set.
IMAGES = {
    "only-amd64:1": (("amd64",), ImageConfig()),
    "for-both:1": (("amd64", "arm64"), ImageConfig()),
    "known:1": (("amd64",), ImageConfig(env=(("PATH", "/bin"), ("HOME_DIR", "/h")))),
    "shelled:1": (("amd64",), ImageConfig(shell=("/bin/bash", "-c"))),
    "trigger:1": (("amd64",), ImageConfig(on_build=("CMD x", "COPY $NOPE /"))),
}


class Images:
    """The resolver: an image that is not known counts as empty."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def resolve(self, reference: str, platform: str, position: object) -> Resolved:
        system, _, wanted = platform.partition("/")
        if reference not in IMAGES:
            self.facts.unknown.add(reference)
        architectures, config = IMAGES.get(reference, ((wanted,), ImageConfig()))
        architecture = wanted if wanted in architectures else architectures[0]
        return Resolved(reference, "sha256:" + "a" * 64, platform, (), ImageDocument(architecture, system, config))


def check(
    text: str, *, own: bool = False, target: str = "", context: str = HERE, platform: str = "linux/amd64", **args: str
) -> tuple[Finding, ...]:
    """What the rules find; where lowering fails, what they find up to there. `args` are build args."""
    tree = parse_text(text, "Dockerfile")
    facts = Facts()
    options = Options(context, tuple(args.items()), platform=platform)
    try:
        survey(tree, options, Images(facts), SeenInputs(), target=target, facts=facts)
    except PybuildError:
        pass
    found = run(Subject(tree, facts), registry.RULES, settings.of_file(tree, args, own=own))
    return applicable(text, found)


def rules(text: str, **options: object) -> list[tuple[str, int]]:
    """The names of the rules that found something, with BuildKit's line."""
    return [(one.rule, one.first_line) for one in check(text, **options)]  # type: ignore[arg-type]


def messages(text: str, **options: object) -> list[str]:
    """What BuildKit prints of each finding."""
    return [f"{one.rule}: {one.message} (line {one.first_line})" for one in check(text, **options)]  # type: ignore[arg-type]


def mended(text: str, **options: object) -> str:
    """The text after as many rounds of edits as there are."""
    for _ in range(5):
        text = apply(text, check(text, own=True, **options))  # type: ignore[arg-type]
    return text
