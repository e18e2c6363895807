"""The index of the checks: docs/reference/checks/README.md, written from the table of rules.

python -m buildkit_py.cli.checks_reference > docs/reference/checks/README.md
"""

from __future__ import annotations

import sys

_HEAD = """\
# Checks

Written from the table of rules (`python -m buildkit_py.cli.checks_reference`); a test keeps it up to date.

`pybuild check` tells what is odd about a Buildfile without building it: BuildKit's rules under their names, and ours.
It looks at the whole file, at every stage, or with `--target` at what one target needs. Base images are looked at where
the store has them; no registry is asked. `--fix` mends what can be mended without changing what the file means, and
leaves every other byte as it is. In a file that has nothing but functions each is looked at as if a stage called it.
What is odd about a file that another one includes is told when it is checked itself.

A build prints what BuildKit's rules find in the stages that it builds, as docker does. Ours it prints if the file asks
for them by name.

## Turning rules off and on

A `# check=` line at the very top of the file, before any other comment, is for the whole file; one directly above an
instruction is for that instruction.

    # check=skip=JSONArgsRecommended,StageNameCasing;error=true

- `skip=RULE,…` turns rules off, `skip=all` all of them.
- `error=true` makes a finding an error, at the top of the file only: the build ends with code 3.
- `experimental=RULE,…` turns on experimental rules (`all`: each of them), and ours in builds.

`--build-arg BUILDKIT_DOCKERFILE_CHECK=…` takes the place of the line at the top.

## Formats

| `--format` | |
|---|---|
| `text` | place, source line, what to do and the page, for a person |
| `json` | one object: `version` (1), `file`, `findings`, `error` |
| `github` | workflow commands, which GitHub shows beside the code |
| `sarif` | SARIF 2.1.0, for code scanning services; with the edits of `--fix` |

A member of `findings` has `rule`, `message`, `advice`, `page`, `url`, `fixable`, and the place: `file`, `line` and
`column` (from 1), and `first_line` and `last_line` of the instruction. `error` is null, or what is wrong with the file:
`message`, `hint`, `file`, `line`, `column`.

Exit codes: 0, nothing was found; 1, something was; 3, the file is wrong. [All codes](../exit-codes.md).

## Rules
"""


def reference() -> str:
    """The Markdown text of the index."""
    from buildkit_py.frontend.buildfile.checks.registry import RULES
    from buildkit_py.frontend.buildfile.checks.rule import KINDS

    lines = [_HEAD, "| rule | of | what should be so | `--fix` |", "|---|---|---|---|"]
    for rule in RULES:
        fix = "yes" if rule.fixes else ""
        lines.append(f"| [{rule.name}]({rule.name}.md) | {KINDS[rule.kind]} | {rule.summary.rstrip('.')} | {fix} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
