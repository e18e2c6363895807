"""The checks that every build runs: BuildKit's, and those of ours that the file asks for by name."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.checks import buildkit, settings
from buildkit_py.frontend.buildfile.checks.run import run
from buildkit_py.frontend.buildfile.checks.subject import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.buildfile.checks.rule import Rule
    from buildkit_py.frontend.buildfile.facts import Facts
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.buildfile.syntax import Buildfile


def check(tree: Buildfile, build_args: dict[str, str], facts: Facts, notice: Notify, *, failing: bool = False) -> None:
    """Tell what the checks find. Raises `BuildfileError` where the file, or a build arg, makes that an error.

    `failing`: the build ends with another error, so this raises none. Raises
    `UsageError` for a build arg that is malformed.
    """
    wanted = settings.of_file(tree, build_args)
    findings = run(Subject(tree, facts), _rules(tree, build_args), wanted)
    for finding in findings:
        notice(finding.message, finding.position, "", finding.rule)
    if findings and wanted.error and not failing:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in findings))
        raise BuildfileError(
            f"lint violation found for rules: {rules}",
            at=findings[0].position,
            hint="`check=error=true` makes it an error; `pybuild check` says what to do",
        )


def _rules(tree: Buildfile, build_args: dict[str, str]) -> tuple[Rule, ...]:
    """BuildKit's rules; all there are where the file may ask for more, which almost none does."""
    said = [build_args.get(settings.BUILD_ARG, ""), *(text for _, text in tree.directives)]
    said += [text for _, comments in tree.comments for text in comments if text.startswith("check=")]
    if not any("experimental" in text for text in said):
        return buildkit.RULES
    from buildkit_py.frontend.buildfile.checks import registry

    return registry.RULES
