"""Which rules run: the `# check=` directive, the build arg that replaces it, and the comments above instructions."""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.frontend.buildfile.checks.rule import EXPERIMENTAL, OWN
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.checks.rule import Rule
    from buildkit_py.frontend.buildfile.syntax import Buildfile

BUILD_ARG = "BUILDKIT_DOCKERFILE_CHECK"
_COMMENT = "check="
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Settings(Record):
    """`skip` and `experimental` are names of rules, or `all`; `error`: a finding ends the build.

    `own`: our rules run, too, and not only those that `experimental` names.
    """

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False
    own: bool = False

    def wants(self, rule: Rule) -> bool:
        """Whether a rule runs. As in BuildKit `skip` does not touch what `experimental` asks for."""
        if rule.kind == EXPERIMENTAL:
            return rule.name in self.experimental or "all" in self.experimental
        if rule.kind == OWN and rule.name in self.experimental:
            return True
        if rule.kind == OWN and not self.own:
            return False
        return rule.name not in self.skip and "all" not in self.skip

    def merged(self, other: Settings) -> Settings:
        """With what a comment above an instruction adds; `error` is a matter of the whole file."""
        return self.replace(skip=self.skip | other.skip, experimental=self.experimental | other.experimental)


def parse(text: str) -> Settings:
    """What `skip=A,B;error=true;experimental=C` says. Raises `ValueError` saying what is wrong."""
    found: dict[str, frozenset[str]] = {}
    error = False
    for part in text.split(";") if text.strip() else ():
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            raise ValueError(f"`{part.strip()}` is not key=value")
        if key in ("skip", "experimental"):
            found[key] = frozenset(name.strip() for name in value.split(","))
        elif key == "error":
            if value not in _TRUE | _FALSE:
                raise ValueError(f"`error` is true or false, not `{value}`")
            error = value in _TRUE
        else:
            raise ValueError(f"unknown key `{key}`")
    return Settings(found.get("skip", frozenset()), found.get("experimental", frozenset()), error)


def of_file(tree: Buildfile, build_args: dict[str, str], *, own: bool = False) -> Settings:
    """What holds for a whole file. Raises `UsageError` for a build arg that says nothing."""
    given = build_args.get(BUILD_ARG)
    if given is None:
        return parse(dict(tree.directives).get("check", "")).replace(own=own)
    try:
        return parse(given).replace(own=own)
    except ValueError as problem:
        raise UsageError(
            f"--build-arg {BUILD_ARG}={given}: {problem}", hint="write it as `skip=RULE,…;error=true`"
        ) from problem


def of_comments(comments: tuple[str, ...]) -> Settings | None:
    """What the comments above an instruction say, None where they say nothing. One that is malformed says nothing."""
    found: Settings | None = None
    for comment in comments:
        if comment.startswith(_COMMENT):
            try:
                said = parse(comment.removeprefix(_COMMENT))
            except ValueError:
                continue
            found = said if found is None else found.merged(said)
    return found
