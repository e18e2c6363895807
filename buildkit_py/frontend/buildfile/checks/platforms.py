"""Rules about the platform of a FROM."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding
from buildkit_py.frontend.buildfile.checks.subject import quoted
from buildkit_py.frontend.platform_args import normalise, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.frontend.buildfile.checks.subject import Subject
    from buildkit_py.frontend.buildfile.syntax import Flag, From

_TARGET = "TARGETPLATFORM"


def redundant_target_platform(subject: Subject) -> Iterator[Finding]:
    """`--platform=$TARGETPLATFORM`, which is the platform in any case."""
    for base in subject.facts.bases:
        platform, flag = base.platform, _platform_flag(base.head)
        if platform is None or flag is None or platform.used != (_TARGET,) or platform.unset:
            continue
        if platform.text == subject.facts.globals.get(_TARGET):
            message = (
                f"Setting platform to predefined {flag.value} in FROM is redundant as this is the default behavior"
            )
            written = f"--platform={flag.value}"
            at = flag.position
            edits = (Edit(at.line, at.column, written + " ", ""),)
            yield Finding(base.head, message, at, edits, width=len(written))


def from_platform_flag_const_disallowed(subject: Subject) -> Iterator[Finding]:
    """`--platform=linux/amd64`, unless the stage's name says that it is meant to be of that platform."""
    for base in subject.facts.bases:
        platform, flag = base.platform, _platform_flag(base.head)
        if platform is None or flag is None or platform.used:
            continue
        try:
            system, architecture, _ = split(normalise(platform.text))
        except BuildfileError:
            continue  # lowering says so
        if system in base.head.name or architecture in base.head.name:
            continue
        message = f"FROM --platform flag should not use constant value {quoted(platform.text)}"
        yield Finding(base.head, message, flag.position, width=len(f"--platform={flag.value}"))


def invalid_base_image_platform(subject: Subject) -> Iterator[Finding]:
    """An image of one platform where another was asked for: it has only that one."""
    for found in subject.facts.images:
        system, architecture, _ = split(found.platform)
        document = found.image.document
        if (system, architecture) != (document.os, document.architecture):
            actual = "/".join(filter(None, (document.os, document.architecture, document.variant)))
            message = (
                f"Base image {found.name} was pulled with platform {quoted(actual)}, expected "
                f"{quoted(found.platform)} for current build"
            )
            yield Finding(found.head, message, found.head.image.position, width=len(found.head.image.text))


def _platform_flag(head: From) -> Flag | None:
    return next((flag for flag in head.flags if flag.name == "platform"), None)
