"""The table of all rules: what runs, what the documentation lists, what SARIF describes."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks import buildkit, own

RULES = (*buildkit.RULES, *own.RULES)
BY_NAME = {rule.name: rule for rule in RULES}
